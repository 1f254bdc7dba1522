/** LevelDB directories with right checksums that nobody but an attacker would write: each is to be refused, and none may end the process. */
import {
  addEdit,
  batchOf,
  blockOf,
  type DirectorySpec,
  dropEdit,
  internalKey,
  pointerEdit,
  type Row,
  type TableSpec,
  varint,
} from './level-files.ts'

type Change = (spec: DirectorySpec) => void

const swap = <T>(list: T[], a: number, b: number): void => {
  const one = list[a]!
  list[a] = list[b]!
  list[b] = one
}

const key = (text: string, sequence = 1n, kind = 1) => internalKey(Buffer.from(text), sequence, kind)

/** Changes the data blocks, or the list, of a table. */
const blocks =
  (table: number, change: (block: Buffer) => Buffer, wanted: (number: number, isList: boolean) => boolean): Change =>
  ({ tables }) => {
    tables[table]!.change = (block, number, isList) => (wanted(number, isList) ? change(block) : block)
  }

const first = (number: number) => number === 0
const isList = (_: number, list: boolean) => list

/** Puts something into a block, at a place counted from its beginning or, negative, its end. */
const put =
  (at: number, hex: string) =>
  (block: Buffer): Buffer => {
    const bytes = Buffer.from(block)
    Buffer.from(hex, 'hex').copy(bytes, at < 0 ? bytes.length + at : at)
    return bytes
  }

const row =
  (table: number, at: number, make: (row: Row) => Row): Change =>
  ({ tables }) => {
    const { rows } = tables[table]!
    const place = at < 0 ? rows.length + at : at
    rows[place] = make(rows[place]!)
  }

const said =
  (table: number, what: NonNullable<TableSpec['said']>): Change =>
  ({ tables }) => {
    tables[table]!.said = what
  }

const log = (spec: DirectorySpec): Buffer[] => [...spec.logs.values()][0]!
const rest: [Buffer, Buffer][] = [[Buffer.from('zz'), Buffer.from('of the log')]]

export const HOSTILE: readonly (readonly [what: string, Change])[] = [
  ...[0, 1, 2, 3].map((table): [string, Change] => [
    `two rows of table ${table} are exchanged`,
    ({ tables }) => swap(tables[table]!.rows, 5, 6),
  ]),
  ['rows of two blocks are exchanged', ({ tables }) => swap(tables[0]!.rows, 5, 45)],
  ['the first row comes again last', ({ tables }) => void tables[1]!.rows.push(tables[1]!.rows[0]!)],
  ['a row comes twice', ({ tables }) => void tables[0]!.rows.splice(5, 0, tables[0]!.rows[5]!)],
  [
    'an older write of a key comes first',
    ({ tables }) => {
      const { rows } = tables[0]!
      const [found, value] = rows[5]!
      rows.splice(5, 0, [Buffer.concat([found.subarray(0, -8), Buffer.from('0100000000000000', 'hex')]), value])
    },
  ],
  ['all rows come from the end to the beginning', ({ tables }) => void tables[0]!.rows.reverse()],
  ...[0, 1, 7].map((length): [string, Change] => [
    `a key has ${length} bytes`,
    row(3, 3, ([found, value]) => [found.subarray(0, length), value]),
  ]),
  ['the first key has three bytes', row(2, 0, ([found, value]) => [found.subarray(0, 3), value])],
  ['the last key has three bytes', row(2, -1, ([found, value]) => [found.subarray(0, 3), value])],
  [
    'a key has a kind that there is not',
    row(0, 3, ([found, value]) => [internalKey(found.subarray(0, -8), 4n, 2), value]),
  ],
  [
    'a key has the number of a write that was not yet',
    row(0, 3, ([found, value]) => [internalKey(found.subarray(0, -8), 2n ** 55n), value]),
  ],
  ['a key shares more than there is', blocks(0, put(0, '7f'), first)],
  ['an entry is longer than its block', blocks(0, put(1, 'ffffffff0f'), first)],
  ['the lengths of an entry overflow', blocks(3, put(0, '00ffffffff0f01'), first)],
  ['a length never ends', blocks(0, put(0, 'ffffffffffffffffffffffff'), first)],
  ['a block has more offsets than bytes', blocks(0, put(-4, 'ffffffff'), first)],
  ['a block has no offsets', blocks(0, put(-4, '00000000'), first)],
  ['an offset leads out of its block', blocks(3, put(-8, 'ffffff7f'), first)],
  ['an offset leads into an entry', blocks(3, put(-8, '03000000'), first)],
  ['a block is empty', blocks(0, () => Buffer.alloc(0), first)],
  ['a block has three bytes', blocks(0, () => Buffer.of(1, 2, 3), first)],
  ['a block has no entry', blocks(0, () => blockOf([]), first)],
  ['a block has one offset only', blocks(0, block => blockOf2(block), first)],
  ['the list has three bytes', blocks(0, () => Buffer.of(1, 2, 3), isList)],
  ['the list has no entry', blocks(0, () => blockOf([]), isList)],
  ['the list has no offsets', blocks(0, put(-4, '00000000'), isList)],
  ['the list has offsets that lead out of it', blocks(0, put(-8, 'ffffff7f'), isList)],
  ['the names have offsets that lead out of it', ({ tables }) => last(tables[0]!, put(-8, 'ffffff7f'))],
  [
    'the names lead to a block of 2^60 bytes',
    ({ tables }) => last(tables[0]!, () => names(varint(0), varint(2n ** 60n))),
  ],
  [
    'the names lead to a block out of the file',
    ({ tables }) => last(tables[0]!, () => names(varint(2n ** 40n), varint(5))),
  ],
  ['the list is in disorder', ({ tables }) => void (tables[0]!.list = entries => [...entries].reverse())],
  ['the list has an entry twice', ({ tables }) => void (tables[0]!.list = entries => [entries[0]!, ...entries])],
  ['the list lacks an entry', ({ tables }) => void (tables[0]!.list = entries => entries.slice(1))],
  ['the list has short keys', ({ tables }) => listKeys(tables[0]!, found => found.subarray(0, 2))],
  ['the list has keys before those of the blocks', ({ tables }) => listKeys(tables[0]!, (_, i) => key(`a${i}`))],
  ['the list has keys behind those of the next blocks', ({ tables }) => listKeys(tables[0]!, (_, i) => key(`zz${i}`))],
  [
    'the list leads to a block of 2^63 bytes',
    ({ tables }) => listValues(tables[0]!, () => Buffer.concat([varint(0), varint(2n ** 63n)])),
  ],
  [
    'the list leads out of the file',
    ({ tables }) => listValues(tables[0]!, () => Buffer.concat([varint(2n ** 40n), varint(30)])),
  ],
  ['the list leads nowhere', ({ tables }) => listValues(tables[0]!, () => Buffer.of(255))],
  ['a block is said to be compressed', compressed('ffffffff0f00')],
  ['a block is said to be four gigabytes', compressed('ffffffff0f')],
  ['the manifest says another size', said(0, { size: 10 })],
  ['the manifest says a table of 2^50 bytes', said(0, { size: 2 ** 50 })],
  ['the manifest says a smaller first key', said(0, { first: key('a') })],
  ['the manifest says a greater last key', said(0, { last: key('s') })],
  ['the manifest says a greater first key', said(0, { first: key('x') })],
  ['the manifest says a short first key', said(0, { first: Buffer.of(1) })],
  ['the manifest says a short last key', said(1, { last: Buffer.of(1, 2, 3) })],
  ['the manifest says no keys', said(1, { first: Buffer.alloc(0), last: Buffer.alloc(0) })],
  ['the manifest says overlapping tables of a level', said(1, { last: key('z') })],
  [
    'two tables of a level overlap',
    ({ tables }) => {
      tables[2]!.rows.unshift(tables[1]!.rows[3]!)
    },
  ],
  ['two tables of a level are the same', ({ tables }) => void tables.push({ ...tables[1]!, number: 8 })],
  ['a table is missing', ({ tables }) => void (tables[3]!.missing = true)],
  ['a table is added twice', spec => void spec.edits.push(addEdit(2, 4, 5, key('a'), key('b')))],
  [
    'a table was dropped, and is added again',
    spec => void spec.edits.push(dropEdit(2, 4), addEdit(2, 4, 500, key('m'), key('n'))),
  ],
  [
    'a table that was dropped had no keys',
    ({ edits }) => {
      edits.push(
        addEdit(3, 3, 5, Buffer.of(1), Buffer.of(2)),
        addEdit(3, 1, 5, key('a'), key('b')),
        dropEdit(3, 3),
        dropEdit(3, 1),
      )
    },
  ],
  ['a table is added to level 7', ({ edits }) => void edits.push(addEdit(7, 8, 5, key('a'), key('b')))],
  [
    'merges go on from a short key',
    ({ edits }) => void edits.push(pointerEdit(0, Buffer.of(1)), pointerEdit(1, Buffer.of(1))),
  ],
  ['merges go on from an empty key', ({ edits }) => void edits.push(pointerEdit(1, Buffer.alloc(0)))],
  ['an edit is unknown', ({ edits }) => void edits.push(varint(99))],
  ['an edit ends too early', ({ edits }) => void edits.push(Buffer.from('0704ffff', 'hex'))],
  ['the order is another', spec => void (spec.comparator = 'reverse')],
  ['the last write is beyond all numbers', spec => void (spec.lastSequence = 2n ** 63n)],
  ['the last write is the last that there can be', spec => void (spec.lastSequence = 2n ** 56n - 1n)],
  ['the last write was before others', spec => void (spec.lastSequence = 3n)],
  ['the next file has the number of one', spec => void (spec.nextFile = 3)],
  [
    'the next file has the greatest number',
    spec => void spec.edits.push(Buffer.concat([varint(3), varint(2n ** 64n - 1n)])),
  ],
  ['the log has the greatest number', spec => void spec.edits.push(Buffer.concat([varint(2), varint(2n ** 64n - 1n)]))],
  [
    'the log before has the greatest number',
    spec => void spec.edits.push(Buffer.concat([varint(9), varint(2n ** 64n - 1n)])),
  ],
  ['there is a log of the greatest number', spec => void spec.logs.set('18446744073709551615.log', log(spec))],
  ['there is a log of another name', spec => void spec.logs.set('9.log', log(spec))],
  ['the log is missing', spec => spec.logs.clear()],
  ['a batch of the log comes twice', spec => void log(spec).push(log(spec)[0]!)],
  ['a batch of the log has a number that is taken', spec => void log(spec).push(batchOf(1n, rest), batchOf(1n, rest))],
  ['a batch has numbers beyond all', spec => void log(spec).push(batchOf(2n ** 63n, rest))],
  ['a batch has fewer rows than it says', spec => void log(spec).push(batchOf(spec.lastSequence + 1n, rest, 5))],
  [
    'a batch has no rows and says four thousand million',
    spec => void log(spec).push(batchOf(spec.lastSequence + 1n, [], 0xffffffff)),
  ],
  ['a batch is too short', spec => void log(spec).push(Buffer.alloc(5))],
  [
    'a batch has a row of another kind',
    spec => void log(spec).push(Buffer.concat([batchOf(spec.lastSequence + 1n, [], 1), Buffer.of(7)])),
  ],
  ['a batch ends within a row', spec => void log(spec).push(batchOf(spec.lastSequence + 1n, rest).subarray(0, -3))],
]

/** The entries of a block, with the first offset only. */
function blockOf2(block: Buffer): Buffer {
  const end = block.length - 4 - 4 * block.readUInt32LE(block.length - 4)
  return Buffer.concat([block.subarray(0, end), Buffer.from('0000000001000000', 'hex')])
}

/** Changes the block of names, which is the last but one. */
function last(table: TableSpec, change: (block: Buffer) => Buffer): void {
  const count = Math.ceil(table.rows.length / (table.rowsOfBlock ?? 20))
  table.change = (block, number) => (number === count ? change(block) : block)
}

const names = (...handle: Buffer[]): Buffer =>
  blockOf([[Buffer.from('filter.leveldb.BuiltinBloomFilter2'), Buffer.concat(handle)]])

function listKeys(table: TableSpec, change: (key: Buffer, i: number) => Buffer): void {
  table.list = entries => entries.map(([found, value], i) => [change(found, i), value])
}

function listValues(table: TableSpec, change: () => Buffer): void {
  table.list = entries => entries.map(([found]) => [found, change()])
}

function compressed(hex: string): Change {
  return ({ tables }) => {
    tables[0]!.compressed = Buffer.from(hex, 'hex')
  }
}

type Pick = (below: number) => number

/** Changes something, by chance; it may be left as it was. */
export function mutate(spec: DirectorySpec, pick: Pick): void {
  const table = spec.tables[pick(spec.tables.length)]!
  const { rows } = table
  const at = pick(rows.length)
  const [found, value] = rows[at]!
  const some = () => Buffer.from(Array.from({ length: pick(20) }, () => pick(256)))
  const number = () => [0, 1, 2, pick(20), pick(2 ** 31), 2 ** 32 - 1, 2 ** 40, 2 ** 53 - 1][pick(8)]!
  const scramble = (block: Buffer): Buffer => {
    const bytes = Buffer.from(block)
    for (let turn = pick(4); turn >= 0 && bytes.length > 0; turn--) {
      const place = pick(3) === 0 ? bytes.length - 1 - pick(Math.min(bytes.length, 40)) : pick(bytes.length)
      if (pick(2) === 0) bytes[place] = [0, 1, 127, 128, 255, pick(256)][pick(6)]!
      else bytes.copy(bytes, pick(bytes.length), place, place + pick(30))
    }
    return pick(6) === 0 ? bytes.subarray(0, pick(bytes.length)) : bytes
  }
  const ways: (() => void)[] = [
    () => swap(rows, at, pick(rows.length)),
    () => void (rows[at] = [found.subarray(0, pick(found.length)), value]),
    () => void (rows[at] = [Buffer.concat([some(), found]), value]),
    () => void (rows[at] = [Buffer.concat([found.subarray(0, -8), some()]), value]),
    () => void (rows[at] = [scramble(found), value]),
    () => void rows.splice(at, 0, rows[pick(rows.length)]!),
    () => void (rows.length > 1 && rows.splice(at, 1 + pick(3), ...rows.splice(pick(rows.length), 1))),
    () => {
      const wanted = pick(Math.ceil(rows.length / 20) + 2)
      table.change = (block, which) => (which === wanted ? scramble(block) : block)
    },
    () => void (table.change = (block, _, list) => (list ? scramble(block) : block)),
    () =>
      void (table.list = entries => {
        swap(entries, pick(entries.length), pick(entries.length))
        return entries
      }),
    () => void (table.list = entries => entries.map(([a, b]) => (pick(4) === 0 ? [a, scramble(b)] : [a, b]))),
    () => void (table.list = entries => entries.map(([a, b]) => (pick(4) === 0 ? [scramble(a), b] : [a, b]))),
    () => void (table.said = { first: pick(2) === 0 ? scramble(found) : found }),
    () => void (table.said = { last: pick(2) === 0 ? scramble(found) : found }),
    () => void (table.said = { size: number() }),
    () => void (table.level = pick(7)),
    () => void (table.number = pick(12)),
    () => void (table.rowsOfBlock = 1 + pick(200)),
    () => void spec.tables.push({ ...table, level: pick(7), number: 3 + pick(9) }),
    () => void spec.edits.push(scramble(addEdit(pick(8), pick(12), number(), found, rows[pick(rows.length)]![0]))),
    () => void spec.edits.push(dropEdit(pick(8), pick(12))),
    () => void spec.edits.push(pointerEdit(pick(7), pick(2) === 0 ? found : some())),
    () => void spec.edits.push(Buffer.concat([varint([2, 3, 4, 9][pick(4)]!), varint(number())])),
    () => void spec.edits.push(some()),
    () => void (spec.lastSequence = BigInt(number())),
    () => void (spec.nextFile = number()),
    () => void (spec.logNumber = number()),
    () => void log(spec).push(scramble(log(spec)[0]!)),
    () => void (log(spec)[0] = scramble(log(spec)[0]!)),
    () =>
      void log(spec).push(batchOf(BigInt(number()), rows.slice(at, at + pick(9)), pick(2) === 0 ? pick(9) : undefined)),
    () => void spec.logs.set(`${String(pick(14)).padStart(pick(2) === 0 ? 6 : 1, '0')}.log`, [scramble(log(spec)[0]!)]),
    () => void (table.compressed = Buffer.concat([varint(number()), some(), some()])),
  ]
  for (let turn = pick(2); turn >= 0; turn--) ways[pick(ways.length)]!()
}
