/** A database that another process has open, to work in as its guest. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Database } from '../../lib/index.ts'
import type { Application } from '../../objects/index.ts'
import { createMailSystem } from '../../objects/mail-system.ts'
import { SOCKET } from '../socket-path.ts'
import { RemoteStorage } from './storage.ts'

/** Objects that a connection keeps at hand, and their bytes: what is loaded again has to be asked for. */
const CACHE = { cacheSize: 20_000, cacheBytes: 64 * 1024 * 1024 }

/** @returns undefined if nobody serves it */
export async function openElsewhere(directory: string, user: string): Promise<Database<Application> | undefined> {
  if (!existsSync(join(directory, SOCKET))) return undefined
  const storage = await RemoteStorage.connect(directory, user)
  if (storage === undefined) return undefined
  const database = new Database<Application>(storage, CACHE)
  createMailSystem(database, undefined, undefined, { publishes: false })
  return database
}
