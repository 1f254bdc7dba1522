/** `key=value` arguments. `key=@FILE` takes the value from a file, `key=@@text` is the text `@text`. */
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Blob, ObjectError, type Persistent, setProperty } from '../objects/index.ts'
import { WrongUsage } from './wrong-usage.ts'

export type Assignment =
  | { readonly key: string; readonly text: string }
  /** The path is absolute. */
  | { readonly key: string; readonly file: string }

/** @throws {ObjectError} INVALID_ARGUMENT */
export function assignmentsOf(args: readonly string[]): Assignment[] {
  return args.map(argument => {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(argument) ?? []
    if (key === undefined || value === undefined)
      throw new WrongUsage(`expected key=value, found ${JSON.stringify(argument)}`)
    if (!value.startsWith('@')) return { key, text: value }
    return value.startsWith('@@') ? { key, text: value.slice(1) } : { key, file: resolve(value.slice(1)) }
  })
}

/**
 * Sets the properties that the arguments name; `content` of a File or Blob in the tree is its bytes.
 * @throws {ObjectError} INVALID_ARGUMENT, NOT_FOUND
 */
export async function assign(object: Persistent, assignments: readonly Assignment[]): Promise<void> {
  for (const each of assignments) {
    if (object instanceof Blob && each.key === 'content') await writeContent(object, each)
    else setProperty(object, each.key, 'file' in each ? await readText(each.file) : each.text)
  }
}

async function writeContent(blob: Blob, assignment: Assignment): Promise<void> {
  if (!('file' in assignment)) return blob.write(assignment.text)
  try {
    await blob.write(createReadStream(assignment.file))
  } catch (cause) {
    const { path, code, message } = cause as NodeJS.ErrnoException
    if (path === assignment.file) throw unreadable(assignment.file, '', cause)
    if (code === undefined || cause instanceof ObjectError) throw cause
    throw new ObjectError('DATABASE_FAILED', `the content of ${assignment.file} cannot be stored: ${message}`, {
      cause,
    })
  }
}

/** @throws {ObjectError} INVALID_ARGUMENT */
export async function readText(file: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(file))
  } catch (cause) {
    throw unreadable(file, ' as UTF-8 text', cause)
  }
}

function unreadable(file: string, as: string, cause: unknown): ObjectError {
  return new ObjectError('INVALID_ARGUMENT', `the file ${file} cannot be read${as}: ${(cause as Error).message}`, {
    cause,
  })
}
