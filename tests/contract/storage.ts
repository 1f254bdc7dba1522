/**
 * What every storage must do. Call `storageContract` with a way to open one; `reopen` closes and opens the same data again.
 */
import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Test } from 'tap'
import { sameAttributes } from '../../lib/merge.ts'
import { pickle, Reference } from '../../lib/pickle.ts'
import { GONE } from '../../lib/record.ts'
import { LevelStorage } from '../../lib/storage/level-storage.ts'
import type { Change, Storage } from '../../lib/storage/storage.ts'
import { codeOf, Item, newLevel } from '../support/database.ts'

export interface StorageFactory {
  open(): Promise<Storage>
  /** It is a guest's of another process: what goes through the whole database is left to that one, and so is merging. */
  readonly guest?: true
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
  for await (const [key, value] of storage.outboxRows(prefix)) found.push([key, Buffer.from(value!).toString()])
  return found
}

export function storageContract(t: Test, factory: StorageFactory): void {
  const test = (name: string, body: (t: Test, storage: Storage) => Promise<Storage | undefined>) =>
    t.test(name, async t => {
      let storage = await factory.open()
      storage = (await body(t, storage)) ?? storage
      await storage.close()
    })

  /** A guest's transactions are merged by the classes of the other process; tests/contract/storage.test.ts has that. */
  const own = (...[name, body]: Parameters<typeof test>): void => {
    if (!factory.guest) test(name, body)
  }

  /** What a guest leaves to the other process: `refused` by it. */
  const whole = (name: string, refused: (storage: Storage) => unknown, body: Parameters<typeof test>[1]) =>
    factory.guest
      ? test(`${name}: refused, the other process does it`, async (t, storage) => {
          t.equal(await codeOf(() => refused(storage)), 'DATABASE_LOCKED')
          return undefined
        })
      : test(name, body)

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

  test('user, note and extension are kept exactly; what cannot be kept refuses the transaction, and leaves nothing', async (t, storage) => {
    const [a, b] = [storage.newOid(), storage.newOid()]
    const { tid } = await commit(storage, [change(a, 0, 'old')])
    const told = (about: object, changes: Change[], outbox = new Map<string, Uint8Array>()) =>
      storage.commit({
        ...{ user: '', note: '', extension: {}, changes, outbox, reads: new Map(), merge: () => undefined },
        ...about,
      })
    const circle: unknown[] = []
    circle.push(circle)
    const bad: [string, object, Map<string, Uint8Array>?][] = [
      ['a function', { extension: { deep: [{ it: () => 1 }] } }],
      ['a symbol', { extension: { it: Symbol('x') } }],
      ['an object of a class', { extension: { it: /x/ } }],
      ['a persistent object', { extension: { it: new Item('x') } }],
      ['a user that is no text', { user: 5 }],
      ['a note that is no text', { note: { text: 'x' } }],
      ['an outbox row that is no bytes', {}, new Map([['k', 'text' as unknown as Uint8Array]])],
    ]
    for (const [what, about, outbox] of bad) {
      const changes = [change(b, 0, 'other'), change(a, tid, 'new')]
      t.equal(await codeOf(() => told(about, changes, outbox)), 'INVALID_VALUE', what)
      t.equal(read(storage, b), undefined)
      t.equal(storage.lastTid, tid)
    }
    t.same(await rows(storage, ''), [])
    const kept = {
      user: 'ann \ud800',
      note: 'Grüße 🙂\n',
      extension: {
        circle,
        map: new Map([[1, -0]]),
        date: new Date(5),
        big: 2n ** 70n,
        hostile: JSON.parse('{"__proto__":1,"constructor":2}'),
        bytes: Buffer.of(1),
      },
    }
    const last = await told(kept, [change(a, tid, 'new')])
    t.equal(read(storage, a), 'new', 'and what was refused is in nobody’s way')
    const again = await factory.reopen(storage)
    const { user, note, extension } = (await again.transaction(last.tid))!
    assert.deepStrictEqual({ user, note, extension }, kept)
    return again
  })

  own('merge is given the committed record and decides what is stored', async (t, storage) => {
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
      merge: ({ record }, committed) => ({
        record: { ...record, state: Buffer.concat([committed.state, record.state]) },
        references: [],
      }),
    })
    t.same([...result.merged], [oid])
    t.equal(read(storage, oid), '23')
    return undefined
  })

  own('what was merged is refused if it refers to what is gone', async (t, storage) => {
    const [a, b] = [storage.newOid(), storage.newOid()]
    const { tid } = await commit(storage, [change(a, 0, 'a'), change(b, 0, 'b')])
    await commit(storage, [change(a, tid, '2')])
    await commit(storage, [takenBack(b, tid)])
    const merging = storage.commit({
      changes: [change(a, tid, '3')],
      outbox: new Map(),
      reads: new Map(),
      extension: {},
      user: '',
      note: '',
      place: oid => `the object ${oid}`,
      merge: ({ record }) => ({ record, references: [b] }),
    })
    await t.rejects(merging, { code: 'DANGLING_REFERENCE', message: `the object ${a} refers to the object ${b}` })
    t.equal(read(storage, a), '2')
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

  const takenBack = (oid: number, serial: number): Change => ({ oid, serial, record: GONE, references: [] })
  const referring = (oid: number, serial: number, ...references: number[]): Change => ({
    ...change(oid, serial, 'refers'),
    references,
  })
  /** A state that refers to other objects, as pack reads it. */
  const linked = (oid: number, serial: number, ...others: number[]): Change => ({
    ...change(oid, serial, ''),
    record: {
      className: 'Thing',
      version: 1,
      state: pickle(
        { others: others.map(each => new Reference(each, 'Thing')) },
        reference => reference as Reference,
        'test',
      ),
    },
    references: others,
  })
  const states = (storage: Storage, oid: number): string[] => {
    const snapshot = storage.snapshot()
    const found = Array.from(snapshot.revisions(oid), ({ state }) => Buffer.from(state).toString())
    snapshot.release()
    return found
  }

  test('each revision names the one before it, newest first, also after reopening', async (t, storage) => {
    const oid = storage.newOid()
    let { tid } = await commit(storage, [change(oid, 0, 'v0')])
    for (let i = 1; i < 4; i++) tid = (await commit(storage, [change(oid, tid, `v${i}`)])).tid
    t.same(states(storage, oid), ['v3', 'v2', 'v1', 'v0'])
    const again = await factory.reopen(storage)
    t.same(states(again, oid), ['v3', 'v2', 'v1', 'v0'])
    return again
  })

  test('an object that is taken back is not there, though its revisions are; it can come again', async (t, storage) => {
    const oid = storage.newOid()
    const { tid } = await commit(storage, [change(oid, 0, 'here')])
    const gone = await commit(storage, [takenBack(oid, tid)])
    t.equal(read(storage, oid), undefined)
    t.same(states(storage, oid), ['', 'here'])
    t.equal(await codeOf(() => commit(storage, [change(oid, tid, 'stale')])), 'CONFLICT')
    await commit(storage, [change(oid, gone.tid, 'again')])
    t.equal(read(storage, oid), 'again')
    return undefined
  })

  test('a transaction that refers to an object that was taken back is refused, unless it brings it again', async (t, storage) => {
    const [a, b] = [storage.newOid(), storage.newOid()]
    const { tid } = await commit(storage, [change(a, 0, 'a')])
    const gone = await commit(storage, [takenBack(a, tid)])
    t.equal(await codeOf(() => commit(storage, [referring(b, 0, a)])), 'DANGLING_REFERENCE')
    t.equal(read(storage, b), undefined)
    await commit(storage, [referring(b, 0, a), change(a, gone.tid, 'again')])
    t.equal(read(storage, b), 'refers')
    return undefined
  })

  test('an object that was relied on must still be at its revision', async (t, storage) => {
    const [a, b] = [storage.newOid(), storage.newOid()]
    const { tid } = await commit(storage, [change(a, 0, 'a'), change(b, 0, 'b')])
    await commit(storage, [change(a, tid, 'a2')])
    const relying = (serial: number) =>
      storage.commit({
        changes: [change(b, tid, 'b2')],
        reads: new Map([[a, serial]]),
        outbox: new Map(),
        extension: {},
        user: '',
        note: '',
        merge: () => undefined,
      })
    t.equal(await codeOf(() => relying(tid)), 'READ_CONFLICT')
    t.equal(read(storage, b), 'b')
    return undefined
  })

  test('of an object that was relied on with some attributes, others may change', async (t, storage) => {
    const [a, b] = [storage.newOid(), storage.newOid()]
    const thing = (oid: number, serial: number, attributes: Record<string, unknown>): Change => ({
      ...change(oid, serial, ''),
      record: { className: 'Thing', version: 1, state: pickle(attributes, () => undefined as never, 'thing') },
    })
    const { tid } = await commit(storage, [thing(a, 0, { place: 'p', title: 'x' }), thing(b, 0, {})])
    const old = storage.snapshot()
    const relying = (attributes: string[], title: string) =>
      storage.commit({
        changes: [thing(storage.newOid(), 0, { title })],
        reads: new Map([[a, tid]]),
        attributes: new Map([[a, attributes]]),
        unchanged: (oid, _, names, committed) => sameAttributes(names, old.load(oid), committed),
        outbox: new Map(),
        extension: {},
        user: '',
        note: '',
        merge: () => undefined,
      })
    const second = await commit(storage, [thing(a, tid, { place: 'p', title: 'y' })])
    await relying(['place'], 'place')
    await relying(['place', 'never there'], 'no more than that')
    t.equal(await codeOf(() => relying(['place', 'title'], 'both')), 'READ_CONFLICT')
    const third = await commit(storage, [thing(a, second.tid, { title: 'y' })])
    t.equal(await codeOf(() => relying(['place'], 'it went')), 'READ_CONFLICT')
    await commit(storage, [thing(a, third.tid, { place: 'p' })])
    await relying(['place'], 'it came back')
    old.release()
    return undefined
  })

  test('the log has every transaction once, in either direction and by ranges', async (t, storage) => {
    const oid = storage.newOid()
    const tids = [(await commit(storage, [change(oid, 0, 'v')])).tid]
    for (let i = 0; i < 5; i++) tids.push((await commit(storage, [change(oid, tids.at(-1)!, `v${i}`)])).tid)
    const log = async (range = {}) => {
      const found: number[] = []
      for await (const { tid } of storage.transactions(range)) found.push(tid)
      return found
    }
    t.same(await log(), tids)
    t.same(await log({ reverse: true }), tids.toReversed())
    t.same(await log({ after: tids[1], upTo: tids[3] }), tids.slice(2, 4))
    t.same(await log({ after: tids[5] }), [])
    t.match(await storage.transaction(tids[2]!), {
      tid: tids[2],
      user: 'ann',
      note: 'a note',
      oids: [oid],
      classes: ['Thing'],
    })
    t.equal(await storage.transaction(12345), undefined)
    return undefined
  })

  whole(
    'pack keeps what a view from its time on shows, and what is reachable',
    storage => storage.pack({ before: 1 }),
    async (t, storage) => {
      const [root, kept, lost] = [storage.newOid(), storage.newOid(), storage.newOid()]
      const first = await commit(storage, [linked(root, 0, kept, lost), linked(kept, 0), linked(lost, 0, kept)])
      const second = await commit(storage, [linked(root, first.tid, kept)])
      const held = storage.snapshot()
      t.match(await storage.pack({ before: first.tid }), { packed: first.tid, objects: 0, revisions: 0 })
      t.match(await storage.pack({ before: second.tid }), { packed: second.tid, objects: 1, revisions: 1 })
      t.equal(states(storage, lost).length, 0)
      t.equal(states(storage, root).length, 1)
      t.ok(held.load(lost), 'a snapshot goes on showing what it did')
      held.release()
      t.equal(await codeOf(() => commit(storage, [linked(root, second.tid, lost)])), 'DANGLING_REFERENCE')
      const again = await factory.reopen(storage)
      t.equal(again.packed, second.tid)
      t.equal(states(again, lost).length, 0)
      t.ok(states(again, kept).length === 1)
      return again
    },
  )

  whole(
    'a snapshot of a state that came while a pack was under way goes on showing what it did',
    storage => storage.pack({ before: 1, gc: false }),
    async (t, storage) => {
      const [root, lost] = [storage.newOid(), storage.newOid()]
      const first = await commit(storage, [linked(root, 0, lost), linked(lost, 0)])
      const second = await commit(storage, [linked(root, first.tid)])
      const packing = storage.pack({ before: second.tid })
      await nextTurn()
      const third = await commit(storage, [linked(root, second.tid)])
      const held = storage.snapshot()
      t.equal(held.tid, third.tid)
      const seen = held.load(lost)
      t.match(await packing, { objects: 1 })
      await commit(storage, [linked(root, third.tid)])
      t.equal(held.load(lost)?.serial, seen?.serial)
      t.equal(held.load(root)?.serial, third.tid)
      held.release()
      return undefined
    },
  )

  whole(
    'records gives every record, and copyTo a copy of one state without the outbox',
    storage => storage.copyTo(newLevel(), undefined),
    async (t, storage) => {
      const [a, b] = [storage.newOid(), storage.newOid()]
      const { tid } = await commit(storage, [change(a, 0, 'a'), change(b, 0, 'b')], [['row', 'x']])
      await commit(storage, [change(a, tid, 'a2')])
      const found: [number, boolean, string][] = []
      for await (const { oid, current, record } of storage.records())
        found.push([oid, current, Buffer.from(record!.state).toString()])
      t.same(found, [
        [a, true, 'a2'],
        [b, true, 'b'],
        [a, false, 'a'],
      ])
      t.same(await storage.countRecords(), { objects: 2, revisions: 1, transactions: 2 })
      const level = newLevel()
      await level.open()
      t.match(await storage.copyTo(level, undefined), { tid: storage.lastTid, records: 3 })
      const copy = await LevelStorage.open(level, 'copy', { create: false })
      t.same(states(copy, a), ['a2', 'a'])
      t.same(await rows(copy, ''), [])
      t.not(copy.id, storage.id)
      await copy.close()
      return undefined
    },
  )

  whole(
    'what is planned at rest is committed with nothing between; others go on before and after',
    storage => storage.commitAtRest(async () => Promise.reject(new Error('planned'))),
    async (t, storage) => {
      const oid = storage.newOid()
      let { tid } = await commit(storage, [change(oid, 0, '0')])
      let over = false
      const writer = (async () => {
        for (let n = 1; !over; n++) {
          const result = await commit(storage, [change(oid, tid, `${n}`)]).catch(() => undefined)
          tid = result?.tid ?? storage.lastTid
          await nextTurn()
        }
      })()
      for (let i = 0; i < 20; i++) {
        const { tid: own } = await storage.commitAtRest(async () => {
          await new Promise(resolve => setTimeout(resolve, 1))
          const snapshot = storage.snapshot()
          const serial = snapshot.load(oid)?.serial ?? 0
          snapshot.release()
          return {
            changes: [change(oid, serial, `at rest ${i}`)],
            reads: new Map(),
            outbox: new Map(),
            extension: {},
            user: '',
            note: '',
            merge: () => undefined,
          }
        })
        t.ok(own > 0)
        await new Promise(resolve => setTimeout(resolve, 1))
      }
      over = true
      await writer
      await t.rejects(
        storage.commitAtRest(() => Promise.reject(new Error('no plan'))),
        /no plan/,
      )
      const { tid: after } = await commit(storage, [change(oid, storage.lastTid, 'after')])
      t.equal(after, storage.lastTid, 'a plan that fails holds nobody up')
      return undefined
    },
  )

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
