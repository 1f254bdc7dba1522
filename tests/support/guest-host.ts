/**
 * A process that opens databases, without a root, and serves them to guests: told by messages `{ open: DIRECTORY }` and
 * `{ close: DIRECTORY }`, each of which it answers when that is done.
 */
import { listen } from '../../administration/listen.ts'
import { Database } from '../../lib/index.ts'
import { openDirectory } from '../../lib/storage/directory.ts'
import { LevelStorage } from '../../lib/storage/level-storage.ts'
import type { Application } from '../../objects/index.ts'

const databases = new Map<string, Database<Application>>()

process.on('message', async ({ open, close }: { open?: string; close?: string }) => {
  if (open !== undefined) {
    const { level, witness } = await openDirectory(open, { create: true })
    const database = new Database<Application>(await LevelStorage.open(level, open, { create: true, witness }), {})
    databases.set(open, database)
    await listen(database)
  }
  if (close !== undefined) await databases.get(close)?.close()
  process.send?.('done')
})
process.send?.('ready')
