/** `key=value` arguments. `key=@FILE` takes the value from a file, `key=@@text` is the text `@text`. */
import { readFile } from 'node:fs/promises'
import { Blob, ObjectError, type Persistent, setProperty } from '../objects/index.ts'

/**
 * Sets the properties that the arguments name; `content` of a File or Blob in the tree is its bytes.
 * @throws {ObjectError} INVALID_ARGUMENT, NOT_FOUND
 */
export async function assign(object: Persistent, assignments: readonly string[]): Promise<void> {
  for (const assignment of assignments) {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(assignment) ?? []
    if (key === undefined || value === undefined)
      throw new ObjectError('INVALID_ARGUMENT', `expected key=value, found ${JSON.stringify(assignment)}`)
    if (object instanceof Blob && key === 'content') await object.write(await bytesOf(value))
    else setProperty(object, key, await textOf(value))
  }
}

async function textOf(value: string): Promise<string> {
  if (value.startsWith('@@')) return value.slice(1)
  return value.startsWith('@') ? await readText(value.slice(1)) : value
}

async function bytesOf(value: string): Promise<string | Buffer> {
  if (!value.startsWith('@') || value.startsWith('@@')) return await textOf(value)
  try {
    return await readFile(value.slice(1))
  } catch (cause) {
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `the file ${value.slice(1)} cannot be read: ${(cause as Error).message}`,
      {
        cause,
      },
    )
  }
}

/** @throws {ObjectError} INVALID_ARGUMENT */
export async function readText(file: string): Promise<string> {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(file))
  } catch (cause) {
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `the file ${file} cannot be read as UTF-8 text: ${(cause as Error).message}`,
      { cause },
    )
  }
}
