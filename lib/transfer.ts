/**
 * Export files: an object's subtree (lib/subtree.ts) as bytes, to be put into another place or another database.
 *
 *   header    8 bytes   89 4f 54 58 0d 0a 1a 0a
 *             2         version of the format, 1
 *   record    1         52 ("R")
 *             4         length of the body
 *             4         CRC-32 of the body
 *             body:     4  number of the object: 1 is the top, each record has the next one
 *                       2  version of the class's state
 *                       1  length of the class name, at least 1
 *                       n  class name, UTF-8
 *                          the state (lib/pickle.ts), in which references hold numbers for oids
 *   content   1         42 ("B"); follows the record of a blob that has a content, as often as that needs
 *             4         length of the piece
 *             4         CRC-32 of the piece
 *             n         the piece
 *   trailer   1         45 ("E")
 *             4         how many records there are
 *             32        SHA-256 of everything before these 32 bytes
 *
 * Numbers are big endian. Nothing follows the trailer. The top's place (`__parent__`, `__name__`) is not in the file. The state of
 * a PersistentRef that leads to an object of the file has its number as `oid` and no database. An object whose class is
 * not registered is carried with its state as it is.
 *
 * Reading trusts nothing: all is checked, down to the trailer, before the first object becomes part of a transaction. No constructor and
 * no method of a class runs; only its upgrade function, if the state is of an older version.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { Blob } from './blob.ts'
import { brokenVersion } from './broken-transfer.ts'
import { ObjectError } from './errors.ts'
import { pauses } from './pauses.ts'
import { asState, cellOf, type Persistent } from './persistent.ts'
import { PersistentRef } from './persistent-ref.ts'
import { pickle, Reference } from './pickle.ts'
import { entryOf } from './registry.ts'
import { isContentId } from './storage/blob-store.ts'
import { classNameOf, describe, Subtree } from './subtree.ts'

export const MAGIC = Buffer.from('894f54580d0a1a0a', 'hex')
export const VERSION = 1
export const RECORD = 0x52
export const CONTENT = 0x42
export const TRAILER = 0x45
const CHUNK = 64 * 1024
/** Bytes before a body or a piece of a content, */
const KIND_LENGTH_CRC = 9
/** and about how many before the state of a record: these, number, version, and name of the class. */
const RECORD_HEAD = KIND_LENGTH_CRC + 15
/** At most so many references are named when they are why an export is refused. */
const NAMED = 10

/** How far an export is. */
export interface ExportProgress {
  /** Bytes of what was handed out. */
  readonly done: number
  /** How many there will be about. */
  readonly total: number
}

/**
 * The file, in pieces. The whole subtree is looked through before the first one; states are loaded as they are needed. Others run meanwhile.
 * @param progress is told before each piece
 * @throws {ObjectError} INVALID_REFERENCE naming the references that lead out of the subtree; UNKNOWN_CLASS for a blob of a class that is
 *   not registered; DATABASE_CORRUPT for a damaged blob
 */
export async function* writeExport(
  top: Persistent,
  progress?: (state: ExportProgress) => void,
): AsyncGenerator<Uint8Array, undefined> {
  const subtree = new Subtree(top)
  const states = await explore(subtree, top)
  const contents = progress === undefined ? 0 : await contentsIn(subtree)
  let done = 0
  const pause = pauses()
  const tell = (total = states + contents + subtree.members.length * RECORD_HEAD) =>
    progress?.({ done, total: Math.max(done, total) })
  const hash = createHash('sha256')
  let pieces: Buffer[] = [MAGIC, uint(VERSION, 2)]
  let size = 0
  const chunk = (): Buffer => {
    const bytes = Buffer.concat(pieces)
    hash.update(bytes)
    pieces = []
    size = 0
    return bytes
  }
  for (const [i, member] of subtree.members.entries()) {
    const body = encodeBody(subtree, member, i + 1)
    pieces.push(Buffer.of(RECORD), uint(body.length, 4), uint(crc32(body), 4), body)
    size += body.length
    done += KIND_LENGTH_CRC + body.length
    if (size >= CHUNK) {
      tell()
      yield chunk()
    } else await pause()
    if (!(member instanceof Blob) || member.size === 0) continue
    for await (const piece of member.read() as AsyncIterable<Buffer>) {
      pieces.push(Buffer.of(CONTENT), uint(piece.length, 4), uint(crc32(piece), 4), piece)
      done += KIND_LENGTH_CRC + piece.length
      tell()
      yield chunk()
    }
  }
  tell(done)
  pieces.push(Buffer.of(TRAILER), uint(subtree.members.length, 4))
  yield chunk()
  yield hash.digest()
}

/** Bytes of the blobs' contents. */
async function contentsIn(subtree: Subtree): Promise<number> {
  const pause = pauses()
  let bytes = 0
  for (const member of subtree.members) {
    if (member instanceof Blob) bytes += member.size
    await pause()
  }
  return bytes
}

/** @returns about how many bytes the states have */
async function explore(subtree: Subtree, top: Persistent): Promise<number> {
  const outward: string[] = []
  const bytes = await subtree.explore((from, path, to) => {
    outward.push(`${subtree.whereabouts(from)}, attribute ${path}, to ${to.physicalPath}`)
  })
  if (outward.length > 0) {
    const more = outward.length > NAMED ? `; and ${outward.length - NAMED} more` : ''
    throw new ObjectError(
      'INVALID_REFERENCE',
      `${top.physicalPath} cannot be exported, because references lead out of it: ${outward.slice(0, NAMED).join('; ')}${more}; export a common container, or take them out`,
    )
  }
  for (const member of subtree.members) assertNoUnknownBlob(subtree, member)
  return bytes
}

/** The content of a blob whose class is not registered cannot be known to belong to it, and would be left behind. */
function assertNoUnknownBlob(subtree: Subtree, member: Persistent): void {
  const name = cellOf(member)?.brokenName
  if (name === undefined || !isContentId((subtree.stateOf(member).content as { id?: unknown } | undefined)?.id)) return
  throw new ObjectError(
    'UNKNOWN_CLASS',
    `${subtree.whereabouts(member)} cannot be exported: it seems to be a blob, but its class '${name}' is not registered; register it first`,
  )
}

function encodeBody(subtree: Subtree, member: Persistent, number: number): Buffer {
  const className = classNameOf(member)
  const version = entryOf(member.constructor)?.version ?? brokenVersion(member)
  let state = subtree.stateOf(member)
  const target = member instanceof PersistentRef ? member.deref() : undefined
  const targetNumber = target && subtree.numberOf(target)
  if (targetNumber !== undefined) state = asState({ ...state, oid: targetNumber, database: '' })
  const bytes = pickle(
    state,
    (met, path) => {
      const object = met as Persistent
      const to = subtree.numberOf(object)
      if (to === undefined)
        throw new ObjectError('INVALID_REFERENCE', `attribute ${path} of ${describe(member)} was set during the export`)
      return new Reference(to, classNameOf(object))
    },
    describe(member),
  )
  return Buffer.concat([
    uint(number, 4),
    uint(version, 2),
    uint(Buffer.byteLength(className), 1),
    Buffer.from(className),
    bytes,
  ])
}

function uint(value: number, size: number): Buffer {
  const bytes = Buffer.alloc(size)
  bytes.writeUIntBE(value, 0, size)
  return bytes
}
