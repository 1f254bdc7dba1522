/**
 * The sidecar `.objtree.json` in each directory that `export-dir` writes: what files cannot say.
 *
 *     format    1
 *     folder    type and attributes of the folder that the directory is
 *     entries   by file name: the object's name, its type and attributes, and the SHA-256 of the file as it was written; of a directory
 *               the name only
 *     objects   by name: objects that have no file, with type and attributes
 *     incomplete  true while the directory is written for the first time
 */
import { z } from 'zod'
import { ObjectError } from '../../objects/index.ts'
import type { Attributes } from './attributes.ts'

export const SIDECAR = '.objtree.json'

const DESCRIPTION = z.strictObject({ type: z.string().min(1), attributes: z.record(z.string(), z.unknown()) })
const SCHEMA = z.strictObject({
  format: z.literal(1),
  folder: DESCRIPTION,
  entries: z.record(
    z.string(),
    z.strictObject({
      name: z.string(),
      type: z.string().optional(),
      attributes: z.record(z.string(), z.unknown()).optional(),
      sha256: z.string().optional(),
    }),
  ),
  objects: z.record(z.string(), DESCRIPTION),
  incomplete: z.literal(true).optional(),
})

export interface Description {
  readonly type: string
  readonly attributes: Attributes
}

export interface Entry {
  readonly name: string
  readonly type?: string | undefined
  readonly attributes?: Attributes | undefined
  readonly sha256?: string | undefined
}

export interface Sidecar {
  readonly format: 1
  readonly folder: Description
  readonly entries: Readonly<Record<string, Entry>>
  readonly objects: Readonly<Record<string, Description>>
  readonly incomplete?: true
}

/** @param file for the message. @throws {ObjectError} INVALID_ARGUMENT */
export function readSidecar(text: string, file: string): Sidecar {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    throw new ObjectError('INVALID_ARGUMENT', `${file} is not JSON: ${(cause as Error).message}`, { cause })
  }
  const parsed = SCHEMA.safeParse(json)
  // the attributes come from JSON
  if (parsed.success) return parsed.data as Sidecar
  const [issue] = parsed.error.issues
  throw new ObjectError('INVALID_ARGUMENT', `${file}: ${issue?.path.join('.') || 'it'}: ${issue?.message}`)
}

/** The same text for the same content, one attribute on a line, as version control likes it. */
export const writeSidecar = (sidecar: Sidecar): string => `${JSON.stringify(sidecar, null, 2)}\n`
