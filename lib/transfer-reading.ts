/**
 * Reading an export file (the format is specified in lib/transfer.ts). Nothing in it is trusted.
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { unexpected } from './arguments.ts'
import { adoptContent, Blob } from './blob.ts'
import { Broken } from './broken.ts'
import { addBroken, type StagedObject } from './broken-transfer.ts'
import { Branch, Leaf, problemOf } from './btree-nodes.ts'
import { Cell, cellOf } from './cell.ts'
import type { Connection } from './connection.ts'
import { messageOf, ObjectError } from './errors.ts'
import { Persistent } from './persistent.ts'
import { PersistentRef } from './persistent-ref.ts'
import { unpickle } from './pickle.ts'
import { classNamed, upgraded } from './registry.ts'
import { soundState } from './sound-pickle.ts'
import { asState, type State } from './state.ts'
import { type BlobContent, type BlobStore, soundContent } from './storage/blob-store.ts'
import { CONTENT, MAGIC, RECORD, TRAILER, VERSION } from './transfer.ts'

const MAX_BODY = 256 * 1024 * 1024

export type ExportSource = Uint8Array | AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/** The objects of an export file, checked and complete, and part of no transaction yet. */
export interface Staged {
  readonly top: Persistent
  readonly objects: readonly Persistent[]
  /** To be called when `top` has been put into a tree of that connection: for what needs its oid at once. */
  settle(connection: Connection): void
  /** To be called instead if it is not: removes the contents of blobs. */
  discard(): Promise<void>
}

/**
 * Reads an export file to its end.
 * @param blobs where the contents of blobs go; if the file is refused nothing of them is left
 * @throws {ObjectError} INVALID_ARGUMENT if the file is damaged, incomplete or no export file; UNKNOWN_CLASS if it was written by newer code;
 *   whatever the source throws
 */
export async function readExport(source: ExportSource, blobs: BlobStore): Promise<Staged> {
  const contents: BlobContent[] = []
  const discard = () => blobs.remove(contents.map(({ id }) => id))
  try {
    const staged = await readFile(new Reader(source), async pieces => {
      const content = await blobs.stage(pieces)
      contents.push(content)
      return content
    })
    return { ...staged, discard }
  } catch (error) {
    await discard()
    throw error
  }
}

type StageContent = (pieces: AsyncIterable<Uint8Array>) => Promise<BlobContent>

async function readFile(reader: Reader, stageContent: StageContent): Promise<Omit<Staged, 'discard'>> {
  const header = await reader.take(MAGIC.length + 2)
  if (!header.subarray(0, MAGIC.length).equals(MAGIC)) throw reader.refuse('it is no export file')
  const version = header.readUInt16BE(MAGIC.length)
  if (version !== VERSION) throw reader.refuse(`it has version ${version} of the format, only ${VERSION} can be read`)
  const stage = new Stage()
  for (let tag = await reader.take(1); tag[0] !== TRAILER; tag = await reader.take(1)) {
    if (tag[0] !== RECORD) throw reader.refuse('neither a record nor the trailer begins here')
    const head = await reader.take(8)
    const length = head.readUInt32BE(0)
    if (length > MAX_BODY) throw reader.refuse(`a record of ${length} bytes is larger than any that is written`)
    const body = await reader.take(length)
    if (crc32(body) !== head.readUInt32BE(4)) throw reader.refuse('the checksum of a record does not agree')
    const number = stage.objects.length + 1
    let size: number
    try {
      stage.add(body)
      size = stage.awaitedContent()
    } catch (error) {
      throw reader.refuse(`object ${number}: ${messageOf(error)}`, error)
    }
    if (size > 0) stage.setContent(await stageContent(contentPieces(reader, size)), reader)
  }
  const count = (await reader.take(4)).readUInt32BE(0)
  const digest = reader.digest()
  if (!(await reader.take(digest.length)).equals(digest))
    throw reader.refuse('the checksum of the whole does not agree')
  await reader.end()
  try {
    return stage.complete(count)
  } catch (error) {
    throw reader.refuse(messageOf(error), error)
  }
}

/** The content of a blob. */
async function* contentPieces(reader: Reader, size: number): AsyncGenerator<Uint8Array> {
  for (let left = size; left > 0; ) {
    const head = await reader.take(9)
    const length = head.readUInt32BE(1)
    if (head[0] !== CONTENT || length === 0 || length > left)
      throw reader.refuse(`the content of a blob is expected, ${left} bytes of it`)
    const piece = await reader.take(length)
    if (crc32(piece) !== head.readUInt32BE(5)) throw reader.refuse('the checksum of a content does not agree')
    left -= length
    yield piece
  }
}

/** Collects the objects of a file. What it throws is an error of the file. */
class Stage {
  readonly objects: StagedObject[] = []
  private readonly contents: { readonly blob: Blob; readonly content: BlobContent }[] = []
  /** Objects by number, of which some have only been referred to so far. */
  private readonly cells = new Map<number, { readonly cell: Cell; readonly className: string }>()
  /** How many references lead to each. */
  private readonly referred = new Map<number, number>()

  add(body: Buffer): void {
    const number = this.objects.length + 1
    const nameEnd = 7 + (body[6] ?? 0)
    if (body.length < nameEnd || nameEnd === 7) throw new Error('its header is cut off')
    if (body.readUInt32BE(0) !== number) throw new Error(`it has number ${body.readUInt32BE(0)}`)
    const version = body.readUInt16BE(4)
    const className = body.toString('utf8', 7, nameEnd)
    if (Buffer.byteLength(className) !== nameEnd - 7) throw new Error('the name of its class is not UTF-8')
    const bytes = body.subarray(nameEnd)
    for (const { oid, className } of soundState(bytes).references) {
      this.cell(oid, className)
      this.referred.set(oid, (this.referred.get(oid) ?? 0) + 1)
    }
    const cell = this.cell(number, className)
    const state = unpickle(bytes, ({ oid, className }) => this.cell(oid, className).proxy)
    const entry = classNamed(className)
    cell.state = asState(entry === undefined ? state : upgraded(state, entry, version, `object ${number} of the file`))
    this.objects.push({ cell, className, version })
  }

  /** How many bytes of content have to follow the object that was added last. Throws if it says what can be no content. */
  awaitedContent(): number {
    const { cell } = this.objects.at(-1)!
    const content = cell.state?.content
    if (!(cell.proxy instanceof Blob) || content === undefined) return 0
    const { size } = soundContent(content)
    if (size === 0) (cell.state as State).content = undefined
    return size
  }

  setContent(content: BlobContent, reader: Reader): void {
    const { cell } = this.objects.at(-1)!
    const state = cell.state as State
    if ((state.content as BlobContent).sha256 !== content.sha256)
      throw reader.refuse('the checksum of a content does not agree')
    state.content = content
    this.contents.push({ blob: cell.proxy as Blob, content })
  }

  complete(count: number): Omit<Staged, 'discard'> {
    const { objects } = this
    if (count !== objects.length || count === 0)
      throw new Error(`it has ${objects.length} objects and says that it has ${count}`)
    for (const number of this.cells.keys())
      if (number > count) throw new Error(`object ${number} is referred to and not there`)
    const refs: { state: State; target: Cell }[] = []
    for (const [i, { cell, className }] of objects.entries()) {
      const state = cell.state as State
      const problem = placeProblem(state, i === 0) ?? this.shapeProblem(cell.proxy, i + 1)
      if (problem !== undefined) throw new Error(`object ${i + 1}, a ${className}: ${problem}`)
      if (!(cell.proxy instanceof PersistentRef) || state.database !== '') continue
      const target = objects[Number(state.oid) - 1]?.cell
      if (target === undefined)
        throw new Error(`object ${i + 1} is a reference to object ${state.oid}, which is not there`)
      refs.push({ state, target })
    }
    assertNoLoops(objects)
    return {
      top: objects[0]!.cell.proxy,
      objects: objects.map(({ cell }) => cell.proxy),
      settle: connection => {
        addBroken(
          connection,
          objects.filter(({ cell }) => cell.brokenName !== undefined),
        )
        for (const { blob, content } of this.contents) adoptContent(connection, blob, content, true)
        for (const { state, target } of refs) {
          state.oid = connection.add(target.proxy)
          state.database = connection.database.id
        }
      },
    }
  }

  private cell(number: number, className: string): Cell {
    if (!Number.isInteger(number) || number < 1 || number > 0xffff_ffff)
      throw new Error(`it refers to object ${number}`)
    const known = this.cells.get(number)
    if (known !== undefined) {
      if (known.className !== className)
        throw new Error(`object ${number} is a ${known.className} here and a ${className} there`)
      return known.cell
    }
    const entry = classNamed(className)
    const cell = new Cell((entry?.ctor ?? Broken).prototype, undefined)
    if (entry === undefined) cell.brokenName = className
    this.cells.set(number, { cell, className })
    return cell
  }

  private shapeProblem(object: Persistent, number: number): string | undefined {
    if (object instanceof Leaf || object instanceof Branch)
      return (this.referred.get(number) ?? 0) > 1 ? 'it is in two places' : problemOf(object)
    const cell = cellOf(object) as Cell
    return cell.isSound(cell.state as State) ? undefined : 'its state is none of its class'
  }
}

function placeProblem({ __parent__: parent, __name__: name }: State, isTop: boolean): string | undefined {
  if (isTop) return parent === undefined && name === undefined ? undefined : 'the top has a container'
  if (parent !== undefined && !(parent instanceof Persistent)) return 'its container is no object'
  return name === undefined || typeof name === 'string' ? undefined : 'its name is no text'
}

/** Checks that the containers of every object lead to an end. */
function assertNoLoops(objects: readonly StagedObject[]): void {
  const ends = new Set<Persistent>()
  for (const { cell } of objects) {
    const way = new Set<Persistent>()
    for (let at: unknown = cell.proxy; at instanceof Persistent && !ends.has(at); ) {
      if (way.has(at)) throw new Error('an object is in itself')
      way.add(at)
      at = (cellOf(at) as Cell).state?.__parent__
    }
    for (const each of way) ends.add(each)
  }
}

type Iterate = () => AsyncIterator<Uint8Array> | Iterator<Uint8Array>

/** How what gives pieces is walked through; undefined for a text and for all else that gives none. */
function iteration(pieces: unknown): Iterate | undefined {
  if (typeof pieces !== 'object' || pieces === null) return undefined
  const found: unknown = Reflect.get(pieces, Symbol.asyncIterator) ?? Reflect.get(pieces, Symbol.iterator)
  return typeof found === 'function' ? (found as Iterate) : undefined
}

/** The bytes of a source, in pieces of the size that is asked for. Holds no more than the piece and what came with it. */
class Reader {
  private readonly source: AsyncIterator<Uint8Array> | Iterator<Uint8Array>
  private pending: Buffer[] = []
  private available = 0
  private offset = 0
  private readonly hash = createHash('sha256')

  constructor(source: ExportSource) {
    const pieces = source instanceof Uint8Array ? [source] : source
    const iterate = iteration(pieces)
    if (iterate === undefined) throw unexpected('import', 'the bytes of an export file, or a stream of them', source)
    this.source = iterate.call(pieces)
  }

  async take(count: number): Promise<Buffer> {
    while (this.available < count) if (!(await this.more())) throw this.refuse('it ends too early')
    const all = this.pending.length === 1 ? this.pending[0]! : Buffer.concat(this.pending)
    const piece = all.subarray(0, count)
    this.pending = [all.subarray(count)]
    this.available -= count
    this.offset += count
    this.hash.update(piece)
    return piece
  }

  /** The checksum of all that was taken. */
  digest(): Buffer {
    return this.hash.copy().digest()
  }

  async end(): Promise<void> {
    while (this.available === 0) if (!(await this.more())) return
    throw this.refuse('something follows the trailer')
  }

  refuse(what: string, cause?: unknown): ObjectError {
    const code = cause instanceof ObjectError && cause.code === 'UNKNOWN_CLASS' ? cause.code : 'INVALID_ARGUMENT'
    return new ObjectError(
      code,
      `the export cannot be read at byte ${this.offset}: ${what}; nothing was imported, export it again`,
      { cause },
    )
  }

  private async more(): Promise<boolean> {
    const { value, done } = await this.source.next()
    if (done) return false
    if (!(value instanceof Uint8Array)) throw this.refuse('the source gives something else than bytes')
    this.pending.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
    this.available += value.byteLength
    return true
  }
}
