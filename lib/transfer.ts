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
import { checkProgress, unexpected } from './arguments.ts'
import { Blob } from './blob.ts'
import { ObjectError } from './errors.ts'
import { type Member, Members } from './export-members.ts'
import { pauses } from './pauses.ts'
import { Persistent } from './persistent.ts'
import { PersistentRef } from './persistent-ref.ts'
import { pickle } from './pickle.ts'
import { asState } from './state.ts'

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
  if (!(top instanceof Persistent)) throw unexpected('export', 'a persistent object', top)
  checkProgress('export', progress)
  const members = new Members(top)
  const { states, contents } = await members.explore()
  let done = 0
  const pause = pauses()
  const tell = (total = states + contents + members.size * RECORD_HEAD) =>
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
  for (let number = 1; number <= members.size; number++) {
    const member = members.read(number)
    const body = encodeBody(members, member, number)
    pieces.push(Buffer.of(RECORD), uint(body.length, 4), uint(crc32(body), 4), body)
    size += body.length
    done += KIND_LENGTH_CRC + body.length
    if (size >= CHUNK) {
      tell()
      yield chunk()
    } else await pause()
    const { object } = member
    if (!(object instanceof Blob) || object.size === 0) continue
    for await (const piece of object.read() as AsyncIterable<Buffer>) {
      pieces.push(Buffer.of(CONTENT), uint(piece.length, 4), uint(crc32(piece), 4), piece)
      done += KIND_LENGTH_CRC + piece.length
      tell()
      yield chunk()
    }
  }
  tell(done)
  pieces.push(Buffer.of(TRAILER), uint(members.size, 4))
  yield chunk()
  yield hash.digest()
}

function encodeBody(members: Members, { className, version, object, ...member }: Member, number: number): Buffer {
  let { state } = member
  const target = object instanceof PersistentRef ? object.deref() : undefined
  const targetNumber = target && members.numberOf(target)
  if (targetNumber !== undefined) state = asState({ ...state, oid: targetNumber, database: '' })
  const owner = members.described(number)
  const bytes = pickle(
    state,
    (met, { path }) => {
      const reference = members.reference(met)
      if (reference === undefined)
        throw new ObjectError('INVALID_REFERENCE', `attribute ${path} of ${owner} was set during the export`)
      return reference
    },
    owner,
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
