/**
 * Names of dropped files that are no text. Node tells them as text in which the bytes that are no UTF-8 are replaced, so a
 * file cannot be opened by what it is called: it gets a name by which it can.
 */
import { existsSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { newMailId } from './id.ts'
import { canBeMail } from './layout.ts'

/** What stands for bytes that are no UTF-8. */
const REPLACED = '\ufffd'

export interface Renamed {
  readonly id: string
  /** As it can be shown. */
  readonly name: string
}

/** True if a file called so may have another name on disk. */
export function isDamaged(name: string): boolean {
  return name.includes(REPLACED)
}

/** Renames all files of a spool whose names are no UTF-8 and that no `.lck` protects. */
export function renameDamaged(spool: string): Renamed[] {
  const renamed: Renamed[] = []
  for (const bytes of readdirSync(spool, { encoding: 'buffer' })) {
    const name = bytes.toString()
    if (!isDamaged(name) || Buffer.from(name).equals(bytes) || !canBeMail(name)) continue
    const path = Buffer.concat([Buffer.from(join(spool, '/')), bytes])
    if (existsSync(Buffer.concat([path, Buffer.from('.lck')]))) continue
    const id = newMailId()
    renameSync(path, join(spool, id))
    renamed.push({ id, name })
  }
  return renamed
}
