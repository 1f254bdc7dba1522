/** The formats on disk, with anything in their place: refused, or read as something of the kind; never a hang, never another error. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { ObjectError } from '../../lib/index.ts'
import { decodeRecord, wholeRecord } from '../../lib/record.ts'
import { transactionKey } from '../../lib/storage/keys.ts'
import { liveTables } from '../../lib/storage/manifest.ts'
import { decodeTransaction, encodeTransaction } from '../../lib/storage/transaction-record.ts'
import { Witness } from '../../lib/storage/witness.ts'
import { openTestDatabase } from '../support/database.ts'
import { directory } from '../support/program.ts'

const RUNS = { numRuns: 10_000 }

/** Either any bytes, or those of a sound one with something overwritten, cut off or put in. */
const damaged = (sound: Buffer) =>
  fc.oneof(
    fc.uint8Array({ maxLength: 80 }).map(bytes => Buffer.from(bytes)),
    fc
      .tuple(fc.nat(sound.length), fc.nat(6), fc.uint8Array({ maxLength: 6 }))
      .map(([at, skip, bytes]) => Buffer.concat([sound.subarray(0, at), bytes, sound.subarray(at + skip)])),
  )

function corruptOrFine(read: () => unknown): void {
  try {
    read()
  } catch (error) {
    if (!(error instanceof ObjectError) || error.code !== 'DATABASE_CORRUPT') throw error
  }
}

t.test('records', async t => {
  const sound = wholeRecord(7, { className: 'Thing', version: 1, state: Buffer.from('state') }, 9, 3).bytes
  fc.assert(
    fc.property(damaged(sound), bytes => {
      if (!bytes.equals(sound)) t.throws(() => decodeRecord(7, bytes), { code: 'DATABASE_CORRUPT' })
    }),
    { numRuns: 2000 },
  )
})

t.test('transactions', async t => {
  const entry = {
    tid: 9,
    previous: 3,
    nextOid: 8,
    user: 'ann',
    note: 'ü',
    extension: { a: [1] },
    oids: [1, 7],
    classes: ['A'],
  }
  const sound = encodeTransaction(entry)
  t.same(decodeTransaction(transactionKey(9), sound), entry)
  fc.assert(
    fc.property(damaged(sound), bytes => corruptOrFine(() => decodeTransaction(transactionKey(9), bytes))),
    RUNS,
  )
  t.throws(() => decodeTransaction(transactionKey(8), sound), { code: 'DATABASE_CORRUPT' }, 'under another tid')
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
  fc.assert(
    fc.property(damaged(sound), bytes => {
      writeFileSync(join(copy, 'MANIFEST-000001'), bytes)
      liveTables(copy)
    }),
    { numRuns: 5000 },
  )
  writeFileSync(join(copy, 'CURRENT'), '../MANIFEST-000001\n')
  t.equal(liveTables(copy), undefined, 'a name that leaves the directory')
})

t.test('the witness', async t => {
  const home = await directory(t)
  process.removeAllListeners('warning')
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.string({ maxLength: 60 }), (committed, tables) => {
      writeFileSync(join(home, 'COMMITTED'), committed)
      writeFileSync(join(home, 'TABLES'), tables)
      t.same(new Witness(home).damaged, [])
    }),
    { numRuns: 300 },
  )
})
