/**
 * The formats on disk, with anything in their place: refused, or read as something of the kind. Checksums are made right again, so that
 * what lies behind them is reached. Never a hang, never another error, nothing that reaches JavaScript's own objects.
 */
import assert from 'node:assert/strict'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { Level } from 'level'
import t from 'tap'
import { contentOfRow } from '../../lib/blob-care.ts'
import { ObjectError } from '../../lib/index.ts'
import { pickle, Reference, unpickle } from '../../lib/pickle.ts'
import { decodeRecord, wholeRecord } from '../../lib/record.ts'
import { asState } from '../../lib/state.ts'
import { BatchReader } from '../../lib/storage/batch-reader.ts'
import { isContentId, soundContent } from '../../lib/storage/blob-store.ts'
import { crc32c } from '../../lib/storage/crc32c.ts'
import { outboxKey, transactionKey } from '../../lib/storage/keys.ts'
import { recordsIn } from '../../lib/storage/log-file.ts'
import { liveTables, tablesIn } from '../../lib/storage/manifest.ts'
import { decodeRow, outboxOperation } from '../../lib/storage/outbox.ts'
import { unsnapped } from '../../lib/storage/snappy.ts'
import { Unsound } from '../../lib/storage/table-block.ts'
import { leaveOut, lookInto } from '../../lib/storage/table-file.ts'
import { blocksIn } from '../../lib/storage/table-search.ts'
import { decodeTransaction, encodeTransaction } from '../../lib/storage/transaction-record.ts'
import { Witness } from '../../lib/storage/witness.ts'
import { committedSaid, tablesSaid } from '../../lib/storage/witness-files.ts'
import { mailRow, readMailRow } from '../../objects/outgoing-mail.ts'
import { Item, openTestDatabase } from '../support/database.ts'
import { hostile, withinBytes } from '../support/hostile.ts'
import { batchOf, logOf } from '../support/level-files.ts'
import { directory } from '../support/program.ts'
import { fc } from '../support/properties.ts'

const RUNS = { numRuns: 10_000 }
const MIB = 1024 * 1024
const OWN = Object.getOwnPropertyNames(Object.prototype).join()

/** What was read, or undefined if it was refused as it should be. */
function corruptOr<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof ObjectError) || error.code !== 'DATABASE_CORRUPT') throw error
    return undefined
  } finally {
    assert.equal(Object.getOwnPropertyNames(Object.prototype).join(), OWN)
  }
}

const shared = { a: 1 }
const circle: Record<string, unknown> = { shared }
circle.self = circle
/** States that have every kind of value between them. */
const STATES = [
  {
    n: 1,
    f: 1.5,
    t: 'text',
    u: 'é\ud800',
    z: -0,
    x: undefined,
    o: { a: [1, [2, { b: null }]] },
    e: JSON.parse('{"__proto__":1}'),
  },
  {
    m: new Map<unknown, unknown>([['k', new Set([1, 'x'])]]),
    b: Buffer.from('ab'),
    y: new Uint8Array(3),
    v: new Float64Array(2),
  },
  {
    d: new Date(5),
    big: 2n ** 90n,
    s: Object.assign(new Array(3), { 2: 'x' }),
    bare: Object.assign(Object.create(null), { a: 1 }),
  },
  { list: [circle, shared], circle, map: new Map([[shared, circle]]) },
  { other: new Item('x'), others: [new Item('y')] },
].map(state => Buffer.from(pickle(asState({ ...state }), (_, { path }) => new Reference(path.length, 'Item'), 'it')))

t.test('records', async t => {
  const sound = wholeRecord(7, { className: 'Thing', version: 1, state: Buffer.from('state') }, 9, 3).bytes
  fc.assert(
    fc.property(hostile(sound), bytes => {
      const found = corruptOr(() => decodeRecord(7, Buffer.from(bytes)))
      assert.ok(found === undefined || bytes.equals(sound), 'a wrong record was read')
    }),
    RUNS,
  )
  fc.assert(
    fc.property(hostile(sound), bytes => {
      if (bytes.length < 5) return
      bytes.writeUInt32BE(7, 1)
      bytes.writeUInt32BE(crc32(bytes, 0), 1)
      corruptOr(() => decodeRecord(7, bytes))
    }),
    RUNS,
  )
  t.pass()
})

t.test('states', async t => {
  let read = 0
  fc.assert(
    fc.property(hostile(...STATES), bytes =>
      withinBytes(64 * MIB, () => {
        const found = corruptOr(() => unpickle(bytes, reference => reference))
        if (found === undefined) return
        read += 1
        assert.equal(Object.getPrototypeOf(found), Object.prototype)
      }),
    ),
    { numRuns: 20_000 },
  )
  t.ok(read > 200, `${read} could be read`)
})

t.test('transactions', async t => {
  const entry = {
    tid: 9,
    previous: 3,
    nextOid: 8,
    user: 'ann',
    note: 'ü',
    extension: { a: [1], map: new Map([[1, 2]]) },
    oids: [1, 7],
    classes: ['A'],
    within: new Map([[1, [1, 7]]]),
  }
  const sound = encodeTransaction(entry)
  const key = transactionKey(9)
  assert.deepStrictEqual(decodeTransaction(key, sound), entry)
  const seal = (body: Uint8Array) => {
    const bytes = Buffer.concat([key.subarray(5), body])
    bytes.writeUInt32BE(crc32(bytes), 0)
    return bytes
  }
  fc.assert(
    fc.property(hostile(sound), bytes => {
      const found = corruptOr(() => decodeTransaction(key, bytes))
      assert.ok(found === undefined || bytes.equals(sound), 'a wrong one was read')
    }),
    RUNS,
  )
  let read = 0
  fc.assert(
    fc.property(hostile(sound.subarray(4)), body =>
      withinBytes(64 * MIB, () => {
        const found = corruptOr(() => decodeTransaction(key, seal(body)))
        if (found === undefined) return
        read += 1
        const { previous, nextOid, user, note, extension, oids, classes, within = [] } = found
        const numbers = [previous, nextOid, ...oids, ...[...within].flat(2)]
        assert.ok(previous < 9 && numbers.every(each => Number.isSafeInteger(each) && each >= 0))
        assert.ok([user, note, ...classes].every(each => typeof each === 'string'))
        assert.equal(Object.getPrototypeOf(extension) ?? Object.prototype, Object.prototype)
      }),
    ),
    RUNS,
  )
  t.ok(read > 50, `${read} could be read`)
  t.throws(() => decodeTransaction(transactionKey(8), sound), { code: 'DATABASE_CORRUPT' }, 'under another tid')
})

t.test('outbox rows, and those of mails', async t => {
  const mail = { id: 'x', spool: '/var/spool/mäil', bytes: Buffer.from('##To:a@example.org\n\nbody') }
  const value = mailRow(mail, false)
  const [key, sound] = outboxOperation('mail/x', value) as [Buffer, Buffer]
  assert.deepEqual(decodeRow(key, sound), value)
  assert.equal(decodeRow(outboxKey('mail/y'), sound), undefined)
  fc.assert(
    fc.property(hostile(sound), bytes => {
      const found = decodeRow(key, bytes)
      assert.ok(found === undefined || bytes.equals(sound), 'a wrong row was read')
    }),
    RUNS,
  )
  fc.assert(
    fc.property(hostile(value), bytes => {
      const found = readMailRow('mail/x', bytes)
      if (found === undefined) return
      assert.equal(found.id, 'x')
      assert.equal(typeof found.spool, 'string')
      assert.ok((found.bytes?.length ?? 0) <= bytes.length)
    }),
    RUNS,
  )
  t.pass()
})

t.test('names of contents, and what a blob says of its content', async t => {
  const id = 'a0'.repeat(12)
  assert.deepEqual(contentOfRow(`blob/${id}/7`), { id, oid: 7 })
  const sound = Buffer.from(`blob/${id}/7`)
  const text = fc.oneof(
    hostile(sound).map(String),
    fc
      .constantFrom('../', '..', '/', '\0', '\n', '%2e', '7/', '/7', '-1', '1e9')
      .chain(piece => fc.nat(sound.length).map(at => `${sound.subarray(0, at)}${piece}${sound.subarray(at)}`)),
  )
  fc.assert(
    fc.property(text, row => {
      const found = contentOfRow(row)
      if (found === undefined) return
      assert.match(found.id, /^[0-9a-f]{24}$/)
      assert.ok(Number.isSafeInteger(found.oid) && found.oid > 0)
      assert.ok(
        row.endsWith(`/${found.id}/${found.oid}`) || row.startsWith(`${row.slice(0, 5)}${found.id}/${found.oid}`),
      )
    }),
    RUNS,
  )
  const thing = fc.oneof(fc.anything({ withBigInt: true, withNullPrototype: true }), text, fc.constant(id))
  fc.assert(
    fc.property(
      fc.oneof(
        thing,
        fc.record({ id: thing, size: fc.oneof(thing, fc.nat()), sha256: fc.oneof(thing, fc.constant('b'.repeat(64))) }),
      ),
      said => {
        const found = corruptOr(() => soundContent(said))
        if (found === undefined) return
        assert.ok(isContentId(found.id) && found.size >= 0 && /^[0-9a-f]{64}$/.test(found.sha256))
      },
    ),
    RUNS,
  )
  t.pass()
})

t.test('the manifest of LevelDB', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(home)
  await db.transact(root => void (root.n = 1))
  await db.close()
  await (await openTestDatabase(home)).close()
  const live = liveTables(home)
  t.ok(live !== undefined && live.size > 0)
  const copy = join(home, 'copy')
  mkdirSync(copy)
  writeFileSync(join(copy, 'CURRENT'), 'MANIFEST-000001\n')
  const sound = readFileSync(join(home, readFileSync(join(home, 'CURRENT'), 'utf8').trim()))
  t.same(tablesIn(sound).live, live)
  fc.assert(
    fc.property(hostile(sound), bytes =>
      withinBytes(64 * MIB, () => {
        try {
          for (const name of tablesIn(bytes).live) assert.match(name, /^\d{6,16}\.ldb$/)
        } catch (error) {
          assert.ok(error instanceof Unsound)
        }
      }),
    ),
    RUNS,
  )
  fc.assert(
    fc.property(hostile(sound), bytes => {
      writeFileSync(join(copy, 'MANIFEST-000001'), bytes)
      liveTables(copy)
    }),
    { numRuns: 200 },
  )
  writeFileSync(join(copy, 'CURRENT'), '../MANIFEST-000001\n')
  t.equal(liveTables(copy), undefined, 'a name that leaves the directory')
})

t.test('the log of LevelDB', async t => {
  const batches = Array.from({ length: 20 }, (_, i) =>
    batchOf(BigInt(1 + 2 * i), [
      [Buffer.from(`key ${i}`), Buffer.alloc(i * 300, 'value')],
      [Buffer.from('gone'), undefined],
    ]),
  )
  const sound = logOf(batches)
  const writesOf = (bytes: Buffer) => {
    const reader = new BatchReader()
    const looking = recordsIn(bytes.length, (part, ends) => reader.take(part, ends))
    let step = looking.next()
    for (; !step.done; ) step = looking.next(bytes.subarray(step.value.offset, step.value.offset + step.value.size))
    return reader.lastWrite
  }
  t.ok(sound.length > 32 * 1024, 'there is more than one block')
  t.equal(writesOf(sound), 40)
  for (let at = 0; at < sound.length; at += 11) {
    const writes = writesOf(sound.subarray(0, at))
    assert.ok(writes % 2 === 0 && writes <= 40, `the log ends at ${at}`)
    const bytes = Buffer.from(sound)
    bytes[at]! ^= 1 << (at % 8)
    assert.throws(() => writesOf(bytes), Unsound, `a changed byte at ${at}`)
  }
  fc.assert(
    fc.property(hostile(sound.subarray(0, 5000)), fc.uint8Array({ maxLength: 200 }), (bytes, batch) =>
      withinBytes(64 * MIB, () => {
        for (const log of [bytes, logOf([Buffer.from(batch)])])
          try {
            writesOf(log)
          } catch (error) {
            assert.ok(error instanceof Unsound)
          }
      }),
    ),
    RUNS,
  )
})

t.test('tables of LevelDB', async t => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
  const home = await directory(t)
  const level = new Level<string, string>(home)
  await level.batch(
    Array.from({ length: 400 }, (_, i) => ({ type: 'put', key: `key ${i}`, value: `${i} ${'ab'.repeat(40)}` })),
  )
  await level.close()
  const again = new Level<string, string>(home)
  await again.open()
  await again.close()
  const [table] = liveTables(home)!
  const path = join(home, table!)
  const sound = readFileSync(path)
  const damage = (bytes: Buffer) => {
    const looking = lookInto(bytes.length, true)
    let step = looking.next()
    for (; !step.done; ) step = looking.next(bytes.subarray(step.value.offset, step.value.offset + step.value.size))
    return step.value.damage
  }
  t.equal(damage(sound), undefined)
  // between where its parts are and the number at its end, the footer has bytes that say nothing
  const idle = (at: number) => at >= sound.length - 48 && at < sound.length - 8
  for (let at = 0; at < sound.length; at++) {
    if (idle(at)) continue
    const bytes = Buffer.from(sound)
    bytes[at]! ^= 1 << (at % 8)
    if (damage(bytes) === undefined) t.fail(`a changed byte at ${at} is not seen`)
  }
  fc.assert(
    fc.property(hostile(sound), bytes => withinBytes(64 * MIB, () => damage(bytes))),
    RUNS,
  )
  // without the list of blocks those are found that are there, up to a damaged one
  const searched = (bytes: Buffer) => {
    writeFileSync(path, bytes)
    return blocksIn(path, undefined)
  }
  const blocks = searched(sound)
  const other = Buffer.from(sound)
  other[blocks[3]!.offset + 5]! ^= 1
  t.ok(blocks.length > 4)
  for (const [what, bytes, count] of [
    ['its end is damaged', Buffer.from(sound).fill(0xff, sound.length - 60), blocks.length],
    ['it ends within a block', sound.subarray(0, blocks[2]!.offset + 9), 2],
    ['a block is damaged', other, 3],
    ['it is empty', Buffer.alloc(0), 0],
  ] as const)
    t.same(searched(bytes), blocks.slice(0, count), what)
  fc.assert(
    fc.property(hostile(sound), bytes => withinBytes(64 * MIB, () => void searched(bytes))),
    { numRuns: 200 },
  )
  // with one block damaged the others are read
  const bytes = Buffer.from(sound)
  bytes.fill(0, 20, 60)
  writeFileSync(path, bytes)
  const found = damage(bytes)!
  t.same([found.list, found.lost], [false, 1])
  t.ok(found.sound.length > 3)
  leaveOut(found.sound, path, sound.length)
  t.equal(damage(readFileSync(path)), undefined)
  const left = new Level<string, string>(home)
  const entries = await left.iterator().all()
  t.ok(entries.length > 200 && entries.length < 400)
  for (const [key, value] of entries) t.match(value, new RegExp(`^${key.slice(4)} abab`))
  await left.close()
})

t.test('what Snappy has compressed', async t => {
  fc.assert(
    fc.property(hostile(Buffer.from([12, 8, 97, 98, 99, 0x15, 3, 0x00, 100])), bytes =>
      withinBytes(128 * MIB, () => {
        try {
          unsnapped(bytes, 64 * MIB)
        } catch (error) {
          assert.ok(error instanceof RangeError)
        }
      }),
    ),
    RUNS,
  )
  t.equal(String(unsnapped(Buffer.from([13, 8, 97, 98, 99, 0x15, 3, 0x00, 100]), 13)), 'abcabcabcabcd')
  t.end()
})

t.test('the witness', async t => {
  const home = await directory(t)
  process.removeAllListeners('warning')
  const sealed = (content: string) => `${crc32(content).toString(16).padStart(8, '0')} ${content}\n`
  const number = fc.oneof(fc.nat(), fc.constantFrom(-1, 1.5, 2 ** 60, null))
  const name = fc.oneof(
    fc.constantFrom('000005.ldb', '../../x.ldb', 'CURRENT', '__proto__', 'constructor'),
    fc.string(),
  )
  const tables = fc.oneof(
    fc.json(),
    fc
      .record({
        tables: fc.oneof(fc.dictionary(name, fc.oneof(fc.tuple(number, number), fc.jsonValue())), fc.jsonValue()),
        damaged: fc.oneof(fc.array(name), fc.jsonValue()),
      })
      .map(each => JSON.stringify(each)),
    fc.string({ maxLength: 60 }),
  )
  const committed = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }).map(body => {
      const bytes = Buffer.alloc(20)
      bytes.set(body)
      bytes.writeUInt32BE(crc32(body), 16)
      return bytes
    }),
  )
  fc.assert(
    fc.property(committed, tables, (commits, content) => {
      committedSaid(Buffer.from(commits))
      assert.equal(tablesSaid(content), undefined, 'without its checksum')
      const found = tablesSaid(sealed(content))
      if (found === undefined) return
      for (const [name, entry] of Object.entries(found.tables))
        assert.ok(/^\d+\.ldb$/.test(name) && entry.every(Number.isSafeInteger))
      assert.ok(found.damaged.every(name => typeof name === 'string'))
    }),
    RUNS,
  )
  fc.assert(
    fc.property(committed, tables, (commits, content) => {
      writeFileSync(join(home, 'COMMITTED'), commits)
      writeFileSync(join(home, 'TABLES'), sealed(content))
      const witness = new Witness(home)
      assert.ok(witness.tid >= 0 && witness.checkpoint >= 0)
      witness.close()
    }),
    { numRuns: 200 },
  )
  t.pass()
})
