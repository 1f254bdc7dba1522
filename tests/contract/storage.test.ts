/** The storage contract over LevelDB on disk and over memory-level. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { openDirectory } from '../../lib/storage/directory.ts'
import type { Level } from '../../lib/storage/level.ts'
import { LevelStorage } from '../../lib/storage/level-storage.ts'
import { newLevel } from '../support/database.ts'
import { storageContract } from './storage.ts'

t.test('over LevelDB on disk', async t => {
  const home = await mkdtemp(join(tmpdir(), 'storage-'))
  t.teardown(() => rm(home, { recursive: true }))
  let count = 0
  const open = async (directory: string) => {
    const { level, witness } = await openDirectory(directory, { create: true })
    return LevelStorage.open(level, directory, { create: true, witness })
  }
  storageContract(t, {
    open: () => open(join(home, `${count++}`)),
    async reopen(storage) {
      await storage.close()
      return open(storage.location)
    },
  })
})

t.test('over memory-level', async t => {
  const levels = new Map<string, Level>()
  storageContract(t, {
    open() {
      const level = newLevel()
      const name = `memory-${levels.size}`
      levels.set(name, level)
      return LevelStorage.open(level, name, { create: true })
    },
    async reopen(storage) {
      const level = levels.get(storage.location)!
      await storage.close()
      await level.open()
      return LevelStorage.open(level, storage.location, { create: false })
    },
  })
})
