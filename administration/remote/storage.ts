/**
 * The storage of a database that another process has open, through the socket beside it (protocol.ts). Reads wait for the answer in the same
 * turn. The contents of blobs are files, which both processes reach. What goes through the whole database (pack, verify, backup, stats,
 * upgrade), and undo, are commands that the other process carries out itself (guest.ts): they are refused here.
 */
import { decodeRecord, isGone, type StoredRecord } from '../../lib/record.ts'
import { type BlobStore, directoryBlobs } from '../../lib/storage/blob-store.ts'
import type {
  Commit,
  Committed,
  Storage,
  StorageSnapshot,
  TransactionEntry,
  TransactionRange,
} from '../../lib/storage/storage.ts'
import { ObjectError } from '../../objects/index.ts'
import { Conversation } from './conversation.ts'
import { receivedEntry, type Sent, sentRecord } from './transactions.ts'

/** Oids are asked for in advance. */
const OIDS = 50
const PAGE = 100

interface State {
  readonly id: string
  readonly lastTid: number
  readonly packed: number
  readonly damage: readonly string[]
}

export class RemoteStorage implements Storage {
  readonly location: string
  readonly id: string
  readonly damage: readonly string[]
  readonly blobs: BlobStore
  private readonly conversation: Conversation
  private oids: number[] = []

  private constructor(location: string, conversation: Conversation, { id, damage }: State) {
    this.location = location
    this.conversation = conversation
    this.id = id
    this.damage = damage
    // whether a transaction failed is not known if the connection broke: what nobody names goes when the database is opened next
    this.blobs = { ...directoryBlobs(location), remove: () => Promise.resolve() }
  }

  /** @returns undefined if nobody serves it. @throws {ObjectError} INVALID_ARGUMENT if the other process cannot do that */
  static async connect(directory: string, user: string): Promise<RemoteStorage | undefined> {
    const conversation = new Conversation(directory)
    if (!(await conversation.begin(user))) return undefined
    return new RemoteStorage(directory, conversation, (await conversation.ask({ op: 'state' })) as State)
  }

  get lastTid(): number {
    return (this.conversation.askNow({ op: 'state' }) as State).lastTid
  }

  get packed(): number {
    return (this.conversation.askNow({ op: 'state' }) as State).packed
  }

  snapshot(): StorageSnapshot {
    const { conversation } = this
    const { snapshot, tid } = conversation.askNow({ op: 'snapshot' }) as { snapshot: number; tid: number }
    const decoded = (oid: number, bytes: string) => decodeRecord(oid, Buffer.from(bytes, 'base64'))
    function* revisions(oid: number): Generator<StoredRecord> {
      for (let skip = 0; ; skip += PAGE) {
        const some = conversation.askNow({ op: 'revisions', snapshot, oid, skip, most: PAGE }) as string[]
        for (const bytes of some) yield decoded(oid, bytes)
        if (some.length < PAGE) return
      }
    }
    return {
      tid,
      revisions,
      load(oid) {
        const bytes = conversation.askNow({ op: 'load', snapshot, oid }) as string | null
        const record = bytes === null ? undefined : decoded(oid, bytes)
        return record === undefined || isGone(record) ? undefined : record
      },
      release: () => void conversation.ask({ op: 'release', snapshot }).catch(() => undefined),
    }
  }

  newOid(): number {
    if (this.oids.length === 0) this.oids = this.conversation.askNow({ op: 'oids', count: OIDS }) as number[]
    return this.oids.shift() as number
  }

  async commit({ changes, reads, attributes, outbox, user, note, extension }: Commit): Promise<Committed> {
    const { tid, merged } = (await this.conversation.ask({
      op: 'commit',
      about: sentRecord({ user, note, extension }),
      changes: changes.map(({ oid, serial, record: { className, version, state }, references, within }) => ({
        oid,
        serial,
        record: { className, version, state: base64(state) },
        references: [...references],
        ...(within !== undefined && { within }),
      })),
      reads: Array.from(reads, ([oid, serial]) => [oid, serial, asList(attributes?.get(oid))]),
      outbox: Array.from(outbox, ([key, value]) => [key, base64(value)]),
    })) as { tid: number; merged: number[] }
    return { tid, merged: new Set(merged) }
  }

  onCommit(listener: (entry: TransactionEntry) => void): () => void {
    const { listeners } = this.conversation
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  async transaction(tid: number): Promise<TransactionEntry | undefined> {
    const entry = (await this.conversation.ask({ op: 'transaction', tid })) as Sent | null
    return entry === null ? undefined : receivedEntry(entry)
  }

  async *transactions({
    after,
    upTo,
    reverse = false,
  }: TransactionRange = {}): AsyncGenerator<TransactionEntry, void, undefined> {
    const range = { ...(after !== undefined && { after }), ...(upTo !== undefined && { upTo }) }
    for (;;) {
      const said = { op: 'transactions', ...range, reverse, most: PAGE } as const
      const some = (await this.conversation.ask(said)) as Sent[]
      yield* some.map(receivedEntry)
      const last = some.at(-1)
      if (last === undefined || some.length < PAGE) return
      if (reverse) range.upTo = last.tid - 1
      else range.after = last.tid
    }
  }

  async *outboxRows(prefix: string): AsyncGenerator<[string, Uint8Array | undefined], void, undefined> {
    const rows = (await this.conversation.ask({ op: 'outbox', prefix })) as [string, string | null][]
    for (const [key, value] of rows) yield [key, value === null ? undefined : Buffer.from(value, 'base64')]
  }

  async writeOutbox(
    rows: Iterable<readonly [string, Uint8Array | undefined]>,
    { sync }: { sync: boolean },
  ): Promise<void> {
    const said = Array.from(rows, ([key, value]): [string, string | null] => [
      key,
      value === undefined ? null : base64(value),
    ])
    await this.conversation.ask({ op: 'write', rows: said, sync })
  }

  async settled(): Promise<void> {
    if (this.conversation.open) await this.conversation.ask({ op: 'settled' })
  }

  close(): Promise<void> {
    return this.conversation.close()
  }

  commitAtRest = (): never => this.refuse('undo')
  records = (): never => this.refuse('verify, stats or upgrade')
  countRecords = (): never => this.refuse('stats')
  pack = (): never => this.refuse('pack')
  copyTo = (): never => this.refuse('backup')

  private refuse(command: string): never {
    throw new ObjectError(
      'DATABASE_LOCKED',
      `another process has ${this.location} open and does that itself: use objtree ${command}`,
    )
  }
}

const asList = (names: readonly string[] | undefined): string[] | null => (names === undefined ? null : [...names])

/** @throws {ObjectError} INVALID_VALUE */
function base64(bytes: Uint8Array): string {
  if (bytes instanceof Uint8Array) return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
  throw new ObjectError('INVALID_VALUE', `an outbox row must be bytes, found ${typeof bytes}`)
}
