/**
 * Where commands are carried out: one database, opened once, and closed whatever happens; or the process that has it open.
 *
 * `carryOut` is the whole of it: an Invocation goes in, a result comes out, and progress and parts of the result on the way.
 */
import { userInfo } from 'node:os'
import { resolve } from 'node:path'
import type { Command, Invocation, Listener, Place } from '../administration/command.ts'
import { openDatabase } from '../objects/index.ts'
import { openHereOrAsk } from './elsewhere.ts'

export interface DatabaseOptions {
  /** The directory, absolute. */
  readonly directory: string
  readonly salvage: boolean
}

/** The database that is asked for, or the application's, or `data/objects` under the working directory. */
export function databaseDirectory(asked: string | undefined, ofApplication: string | undefined): string {
  return resolve(asked ?? ofApplication ?? 'data/objects')
}

/** Who makes the changes: the name of the process's user, or its number where it has none. */
export function userName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? '')
  }
}

/** @returns the command's result, when the mail that it sent has been published */
export async function carryOut(
  command: Command,
  invocation: Invocation,
  { directory, salvage }: DatabaseOptions,
  listener: Listener,
): Promise<unknown> {
  const { args, user, note } = invocation
  const place: Place = {
    directory,
    user,
    note,
    signal: listener.signal,
    watched: listener.watched,
    progress: state => listener.progress(state),
    emit: part => listener.emit(part),
  }
  if (command.works === 'directory') return await command.run(place, args)
  const socket = command.lasting === true
  const untrusted = command.untrusted === true
  const db = await openHereOrAsk(directory, invocation, listener, () =>
    openDatabase(directory, { create: false, salvage, socket, untrusted }),
  )
  if ('result' in db) return db.result
  try {
    return await command.run({ ...place, db }, args)
  } finally {
    await db.close()
  }
}
