/**
 * What every storage must do. Call `storageContract` with a way to open one; `reopen` closes and opens the same data again.
 */
import type { Test } from 'tap'
import type { Change, Storage } from '../../lib/storage/storage.ts'
import { codeOf } from '../support/database.ts'

export interface StorageFactory {
  open(): Promise<Storage>
  /** Closes `storage` and opens what it has left. */
  reopen(storage: Storage): Promise<Storage>
}

const change = (oid: number, serial: number, text: string): Change => ({
  oid,
  serial,
  record: { className: 'Thing', version: 1, state: Buffer.from(text) },
  references: [],
})

const commit = (storage: Storage, changes: Change[], outbox: [string, string][] = []) =>
  storage.commit({
    changes,
    outbox: new Map(outbox.map(([key, value]) => [key, Buffer.from(value)])),
    user: 'ann',
    note: 'a note',
    extension: {},
    reads: new Map(),
    merge: () => undefined,
  })

function read(storage: Storage, oid: number): string | undefined {
  const snapshot = storage.snapshot()
  const record = snapshot.load(oid)
  snapshot.release()
  return record === undefined ? undefined : Buffer.from(record.state).toString()
}

async function rows(storage: Storage, prefix: string): Promise<[string, string][]> {
  const found: [string, string][] = []
  for await (const [key, value] of storage.outboxRows(prefix)) found.push([key, Buffer.from(value).toString()])
  return found
}

export function storageContract(t: Test, factory: StorageFactory): void {
  const test = (name: string, body: (t: Test, storage: Storage) => Promise<Storage | undefined>) =>
    t.test(name, async t => {
      let storage = await factory.open()
      storage = (await body(t, storage)) ?? storage
      await storage.close()
    })

  test('an empty storage has no transaction and no object', async (t, storage) => {
    t.equal(storage.lastTid, 0)
    t.equal(read(storage, 1), undefined)
    t.match(storage.id, /^[0-9a-f]{16}$/)
    return undefined
  })

  test('what is committed is read back, also after reopening, under the same database id', async (t, storage) => {
    const oid = storage.newOid()
    const { tid } = await commit(storage, [change(oid, 0, 'one')])
    t.equal(read(storage, oid), 'one')
    const { id } = storage
    const again = await factory.reopen(storage)
    t.equal(read(again, oid), 'one')
    t.equal(again.lastTid, tid)
    t.equal(again.id, id)
    return again
  })

  test('oids are never given twice, also after reopening', async (t, storage) => {
    const given = [storage.newOid(), storage.newOid()]
    await commit(storage, [change(given[1]!, 0, 'x')])
    const again = await factory.reopen(storage)
    t.ok(again.newOid() > Math.max(...given))
    return again
  })

  test('tids increase strictly, also when the clock goes back', async (t, storage) => {
    const oid = storage.newOid()
    const first = await commit(storage, [change(oid, 0, 'a')])
    const clock = Date.now
    Date.now = () => clock() - 86_400_000
    try {
      const second = await commit(storage, [change(oid, first.tid, 'b')])
      t.ok(second.tid > first.tid)
      storage = await factory.reopen(storage)
      const third = await commit(storage, [change(oid, second.tid, 'c')])
      t.ok(third.tid > second.tid)
    } finally {
      Date.now = clock
    }
    return storage
  })

  test('of two writers of one revision the second conflicts, and the first value stays', async (t, storage) => {
    const oid = storage.newOid()
    const { tid } = await commit(storage, [change(oid, 0, 'old')])
    const first = commit(storage, [change(oid, tid, 'first')])
    t.equal(
      await codeOf(() => commit(storage, [change(oid, tid, 'second')])),
      'CONFLICT',
      'while the first is being written',
    )
    await first
    t.equal(await codeOf(() => commit(storage, [change(oid, tid, 'second')])), 'CONFLICT', 'and afterwards')
    t.equal(read(storage, oid), 'first')
    return undefined
  })

  test('a conflicting transaction leaves nothing, neither objects nor outbox rows', async (t, storage) => {
    const [a, b] = [storage.newOid(), storage.newOid()]
    const { tid } = await commit(storage, [change(a, 0, 'old')])
    await commit(storage, [change(a, tid, 'new')])
    t.equal(
      await codeOf(() => commit(storage, [change(b, 0, 'other'), change(a, tid, 'late')], [['k', 'v']])),
      'CONFLICT',
    )
    t.equal(read(storage, b), undefined)
    t.same(await rows(storage, ''), [])
    return undefined
  })

  test('merge is given the committed record and decides what is stored', async (t, storage) => {
    const oid = storage.newOid()
    const { tid } = await commit(storage, [change(oid, 0, '1')])
    await commit(storage, [change(oid, tid, '2')])
    const result = await storage.commit({
      changes: [change(oid, tid, '3')],
      outbox: new Map(),
      reads: new Map(),
      extension: {},
      user: '',
      note: '',
      merge: ({ record }, committed) => ({ ...record, state: Buffer.concat([committed.state, record.state]) }),
    })
    t.same([...result.merged], [oid])
    t.equal(read(storage, oid), '23')
    return undefined
  })

  test('a snapshot shows its state for as long as it is held', async (t, storage) => {
    const oid = storage.newOid()
    let { tid } = await commit(storage, [change(oid, 0, 'v0')])
    const snapshot = storage.snapshot()
    for (let i = 1; i < 5; i++) tid = (await commit(storage, [change(oid, tid, `v${i}`)])).tid
    t.equal(Buffer.from(snapshot.load(oid)!.state).toString(), 'v0')
    t.ok(snapshot.tid < storage.lastTid)
    snapshot.release()
    t.equal(read(storage, oid), 'v4')
    return undefined
  })

  test('a snapshot taken while a commit is being written shows none of it', async (t, storage) => {
    const [a, b] = [storage.newOid(), storage.newOid()]
    const under = commit(storage, [change(a, 0, 'x'), change(b, 0, 'y')])
    const snapshot = storage.snapshot()
    await under
    t.equal(snapshot.load(a), undefined)
    t.equal(snapshot.load(b), undefined)
    snapshot.release()
    return undefined
  })

  test('transactions that wait together all become durable, in the order of their tids', async (t, storage) => {
    const seen: number[] = []
    const stop = storage.onCommit(event => seen.push(event.tid))
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) => commit(storage, [change(storage.newOid(), 0, `${i}`)])),
    )
    stop()
    t.same(
      seen,
      results.map(({ tid }) => tid),
    )
    t.same(
      seen,
      [...seen].sort((a, b) => a - b),
    )
    return undefined
  })

  test('listeners hear of a commit, its user, note and objects before its promise resolves', async (t, storage) => {
    const oid = storage.newOid()
    let heard: unknown
    storage.onCommit(({ oids, user, note }) => {
      heard = { oids, user, note }
    })
    const done = commit(storage, [change(oid, 0, 'x')]).then(() => heard)
    t.same(await done, { oids: [oid], user: 'ann', note: 'a note' })
    return undefined
  })

  test('outbox rows come with their transaction, in the order of keys, and go when they are deleted', async (t, storage) => {
    await commit(
      storage,
      [change(storage.newOid(), 0, 'x')],
      [
        ['mail/2', 'b'],
        ['mail/1', 'a'],
        ['other', 'c'],
      ],
    )
    t.same(await rows(storage, 'mail/'), [
      ['mail/1', 'a'],
      ['mail/2', 'b'],
    ])
    await storage.writeOutbox(
      [
        ['mail/1', undefined],
        ['mail/2', Buffer.from('changed')],
      ],
      { sync: true },
    )
    const again = await factory.reopen(storage)
    t.same(await rows(again, ''), [
      ['mail/2', 'changed'],
      ['other', 'c'],
    ])
    return again
  })

  test('a closed storage refuses everything, and closing twice is harmless', async (t, storage) => {
    const snapshot = storage.snapshot()
    await storage.close()
    await storage.close()
    t.equal(await codeOf(() => storage.snapshot()), 'DATABASE_CLOSED')
    t.equal(await codeOf(() => snapshot.load(1)), 'DATABASE_CLOSED')
    t.equal(await codeOf(() => commit(storage, [change(1, 0, 'x')])), 'DATABASE_CLOSED')
    t.equal(await codeOf(() => rows(storage, '')), 'DATABASE_CLOSED')
    snapshot.release()
    return undefined
  })

  test('closing waits for the commits under way', async (t, storage) => {
    const oid = storage.newOid()
    const under = commit(storage, [change(oid, 0, 'kept')])
    const again = await factory.reopen(storage)
    await under
    t.equal(read(again, oid), 'kept')
    return again
  })
}
