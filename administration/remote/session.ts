/**
 * One process that works in the database of this one: carries out what it asks of the storage (protocol.ts), until it has gone or the database
 * is closed. Mail that it commits is published here.
 */
import type { Socket } from 'node:net'
import { redone } from '../../lib/btree-redo.ts'
import { mergeRecords, sameAttributes } from '../../lib/merge.ts'
import { type StoredRecord, WholeRecord, wholeRecord } from '../../lib/record.ts'
import type { Commit, Storage, StorageSnapshot } from '../../lib/storage/storage.ts'
import { type Application, type Connection, type Database, ObjectError } from '../../objects/index.ts'
import { mailSystemOf } from '../../objects/mail-system.ts'
import { failureOf } from '../failures.ts'
import { lineCutter } from '../lines.ts'
import { MAX_REQUEST, parsed } from '../wire.ts'
import { Numbered, Operation } from './protocol.ts'
import { receivedEntry, sentEntry } from './transactions.ts'

/** A client that does not take what it is told is let go at so many bytes. */
const MAX_UNREAD = 256 * 1024 * 1024
/** A list is answered in parts of so many. */
const MOST = 200

export interface SessionHost {
  readonly database: Database<Application>
  /** Is given each piece that comes from now on. */
  onward(take: (piece: Buffer) => void): void
  /** Called with work that should end before the database is closed. */
  busy(work: Promise<unknown>): void
}

/** @returns when the other side has gone */
export async function serveStorage(socket: Socket, { database, onward, busy }: SessionHost): Promise<void> {
  const session = new Session(database)
  const say = (what: object): void => {
    socket.write(`${JSON.stringify(what)}\n`)
    if (socket.writableLength > MAX_UNREAD) socket.destroy()
  }
  const stopListening = database.storage.onCommit(entry => say({ committed: sentEntry(entry) }))
  const take = lineCutter(line => {
    const numbered = Numbered.safeParse(parsed(line))
    if (!numbered.success) return void socket.destroy()
    const { id, ...said } = numbered.data
    const answered = session.answer(said).then(
      value => say({ id, value }),
      error => say({ id, error: failureOf(error) }),
    )
    busy(answered)
  }, MAX_REQUEST)
  onward(piece => {
    try {
      take(piece)
    } catch {
      socket.destroy()
    }
  })
  try {
    // after an error, too; that is no failure of ours
    await new Promise<void>(resolve => {
      if (socket.destroyed) resolve()
      else socket.once('close', () => resolve())
    })
  } finally {
    stopListening()
    session.end()
  }
}

interface Seen {
  readonly snapshot: StorageSnapshot
  /** Lets packs leave what the snapshot shows. */
  readonly view: Connection<Application>
}

class Session {
  private readonly database: Database<Application>
  private readonly storage: Storage
  private readonly snapshots = new Map<number, Seen>()
  private last = 0

  constructor(database: Database<Application>) {
    this.database = database
    this.storage = database.storage
  }

  end(): void {
    for (const number of this.snapshots.keys()) this.release(number)
  }

  /** What is asked begins in this turn. */
  async answer(said: unknown): Promise<unknown> {
    const { data, success, error } = Operation.safeParse(said)
    if (!success)
      throw new ObjectError('INVALID_ARGUMENT', `the request is not understood: ${error.issues[0]?.message}`)
    return this.carryOut(data)
  }

  private carryOut(said: Operation): unknown {
    const { storage } = this
    switch (said.op) {
      case 'state':
        return { id: storage.id, lastTid: storage.lastTid, packed: storage.packed, damage: storage.damage }
      case 'snapshot':
        return this.take()
      case 'release':
        return this.release(said.snapshot)
      case 'load':
        return bytesOf(said.oid, this.seen(said.snapshot).load(said.oid))
      case 'revisions':
        return this.revisions(said)
      case 'oids':
        return Array.from({ length: said.count }, () => storage.newOid())
      case 'commit':
        return this.commit(said)
      case 'transaction':
        return storage.transaction(said.tid).then(entry => (entry === undefined ? null : sentEntry(entry)))
      case 'transactions':
        return this.transactions(said)
      case 'outbox':
        return this.rows(said.prefix)
      case 'write':
        return storage.writeOutbox(
          said.rows.map(([key, value]) => [key, value ?? undefined]),
          { sync: said.sync },
        )
      case 'settled':
        return storage.settled()
    }
  }

  private take() {
    const view = this.database.open({ readOnly: true })
    const snapshot = this.storage.snapshot()
    this.last += 1
    this.snapshots.set(this.last, { snapshot, view })
    return { snapshot: this.last, tid: snapshot.tid }
  }

  private release(number: number): void {
    const seen = this.snapshots.get(number)
    this.snapshots.delete(number)
    seen?.snapshot.release()
    seen?.view.release()
  }

  private seen(number: number): StorageSnapshot {
    const seen = this.snapshots.get(number)
    if (seen === undefined) throw new ObjectError('INVALID_ARGUMENT', `there is no snapshot ${number}`)
    return seen.snapshot
  }

  private revisions({ snapshot, oid, skip, most }: Extract<Operation, { op: 'revisions' }>) {
    const found: (string | null)[] = []
    let number = 0
    for (const record of this.seen(snapshot).revisions(oid)) {
      if (found.length >= Math.min(most, MOST)) break
      if (number >= skip) found.push(bytesOf(oid, record))
      number += 1
    }
    return found
  }

  private async commit({ reads, outbox, changes, about }: Extract<Operation, { op: 'commit' }>) {
    const { storage } = this
    const newest = storage.snapshot()
    try {
      const old = (oid: number, serial: number) => {
        for (const record of newest.revisions(oid)) if (record.serial <= serial) return record
        return undefined
      }
      const commit: Commit = {
        ...receivedEntry(about),
        changes,
        reads: new Map(reads.map(([oid, serial]) => [oid, serial])),
        attributes: new Map(reads.flatMap(([oid, , names]) => (names === null ? [] : [[oid, names]]))),
        unchanged: (oid, serial, names, committed) => sameAttributes(names, old(oid, serial), committed),
        outbox: new Map(outbox),
        redo: (within, changes, now) =>
          redone(within, changes, { seen: old, latest: oid => now.latest(oid), newOid: () => now.newOid() }),
        merge: (change, committed) => mergeRecords(change, committed, old(change.oid, change.serial)),
      }
      const publish = () => mailSystemOf(this.database).publisher.publishRows(outbox.map(([key]) => key))
      const { tid, merged } = await storage.commit(commit).catch(error => {
        void storage.outcomeOf?.(commit)?.then(happened => happened === true && publish())
        throw error
      })
      publish()
      return { tid, merged: [...merged] }
    } finally {
      newest.release()
    }
  }

  private async transactions({ after, upTo, reverse, most }: Extract<Operation, { op: 'transactions' }>) {
    const found: ReturnType<typeof sentEntry>[] = []
    const range = { reverse, ...(after !== undefined && { after }), ...(upTo !== undefined && { upTo }) }
    for await (const entry of this.storage.transactions(range)) {
      found.push(sentEntry(entry))
      if (found.length >= Math.min(most, MOST)) break
    }
    return found
  }

  private async rows(prefix: string) {
    const found: [string, string | null][] = []
    for await (const [key, value] of this.storage.outboxRows(prefix))
      found.push([key, value === undefined ? null : Buffer.from(value).toString('base64')])
    return found
  }
}

function bytesOf(oid: number, record: StoredRecord | undefined): string | null {
  if (record === undefined) return null
  const whole = record instanceof WholeRecord ? record : wholeRecord(oid, record, record.serial, record.previous)
  return whole.bytes.toString('base64')
}
