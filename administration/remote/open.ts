/** A database that another process has open, to work in as its guest. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Application, Database } from '../../objects/index.ts'
import { createMailSystem } from '../../objects/mail-system.ts'
import { SOCKET } from '../socket-path.ts'
import { GuestDatabase } from './guest.ts'
import { RemoteStorage } from './storage.ts'

/** @returns undefined if nobody serves it */
export async function openElsewhere(directory: string, user: string): Promise<Database<Application> | undefined> {
  if (!existsSync(join(directory, SOCKET))) return undefined
  const storage = await RemoteStorage.connect(directory, user)
  if (storage === undefined) return undefined
  const database = new GuestDatabase(storage, user)
  createMailSystem(database, undefined, undefined, { publishes: false })
  return database
}
