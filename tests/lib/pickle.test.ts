/** States to bytes and back: exactly, or refused. */
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import { runInNewContext } from 'node:vm'
import { Packr } from 'msgpackr'
import t from 'tap'
import { pickle, unpickle } from '../../lib/pickle.ts'
import { decodeRecord, wholeRecord } from '../../lib/record.ts'
import { asState } from '../../lib/state.ts'
import { codeOf } from '../support/database.ts'
import { fc } from '../support/properties.ts'

const refer = () => {
  throw new Error('no references here')
}
const dump = (value: unknown) => pickle(asState({ value }), refer, 'Test')
const round = (value: unknown): unknown => unpickle(dump(value), reference => reference).value

const typedArray = fc.oneof(
  fc.int8Array(),
  fc.uint8Array(),
  fc.uint8ClampedArray(),
  fc.int16Array(),
  fc.uint16Array(),
  fc.int32Array(),
  fc.uint32Array(),
  fc.float32Array(),
  fc.float64Array(),
  fc.bigInt64Array(),
  fc.bigUint64Array(),
  fc.uint8Array().map(bytes => Buffer.from(bytes)),
)
const leaf = fc.oneof(
  fc.constantFrom(
    null,
    undefined,
    true,
    false,
    Number.NaN,
    Infinity,
    -Infinity,
    -0,
    0,
    2 ** 31,
    -(2 ** 31),
    2 ** 53,
    2 ** 63,
  ),
  fc.double(),
  fc.integer(),
  fc.bigInt(),
  fc.bigInt({ min: -(2n ** 300n), max: 2n ** 300n }),
  fc.string({ unit: 'binary' }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map(units => String.fromCharCode(...units)),
  fc.date({ noInvalidDate: true }),
  typedArray,
)
const value = fc.letrec(tie => ({
  any: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    tie('array'),
    tie('sparse'),
    tie('object'),
    tie('map'),
    tie('set'),
  ),
  array: fc.array(tie('any'), { maxLength: 5 }),
  sparse: fc.sparseArray(tie('any'), { maxNumElements: 4, maxLength: 9 }),
  object: fc.dictionary(
    fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', '', '\ud800')),
    tie('any'),
    { maxKeys: 5 },
  ),
  map: fc.array(fc.tuple(tie('any'), tie('any')), { maxLength: 4 }).map(entries => new Map(entries)),
  set: fc.array(tie('any'), { maxLength: 4 }).map(values => new Set(values)),
})).any

t.test('property: every value comes back exactly, and the same value gives the same bytes', async t => {
  fc.assert(
    fc.property(value, original => {
      const copy = round(original)
      assert.deepStrictEqual(copy, original)
      assert.deepEqual(dump(copy), dump(original))
    }),
    { numRuns: 2000 },
  )
  t.pass()
})

/** What refuses a value at that place. */
const refusal = (value: unknown): string => {
  try {
    dump([0, { in: value }])
  } catch (error) {
    assert.equal((error as { code?: string }).code, 'INVALID_VALUE')
    return (error as Error).message
  }
  return ''
}

t.test('property: what has anything beside its content is refused by its path, never stored without it', async t => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 40 }).map(each => each.slice().buffer)
  const original = fc.oneof(
    typedArray,
    bytes,
    bytes.map(buffer => new DataView(buffer)),
    fc.date(),
    fc.array(fc.integer()),
    fc.array(fc.integer(), { minLength: 51, maxLength: 60 }),
    fc.uint8Array({ minLength: 51, maxLength: 60 }),
    fc.sparseArray(fc.integer(), { maxLength: 9 }),
    fc.constant(new Map([[1, 2]])).map(map => new Map(map)),
    fc.constant([1]).map(values => new Set(values)),
  )
  const name = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('name', '-1', '1.5', '01', '4294967295', '__proto__'),
  )
  const isNumber = (key: string) => String(Number(key)) === key || key === '-0'
  fc.assert(
    fc.property(original, name, fc.boolean(), fc.boolean(), fc.anything(), (value, key, symbol, enumerable, beside) => {
      fc.pre(!(isNumber(key) && (ArrayBuffer.isView(value) || (Array.isArray(value) && /^\d{1,9}$/.test(key)))))
      assert.equal(refusal(value), '')
      Object.defineProperty(value, symbol ? Symbol(key) : key, { value: beside, enumerable, configurable: true })
      assert.match(refusal(value), /^attribute value\[1\]\.in of Test holds /)
    }),
    { numRuns: 2000 },
  )
  t.match(refusal(Object.assign(new Float64Array(3), { unit: 'm' })), /a Float64Array with properties of its own/)
})

t.test('property: views of the same bytes are refused, views of different ones are stored', async t => {
  const span = fc.tuple(fc.nat(30), fc.nat(6))
  let refused = 0
  fc.assert(
    fc.property(fc.array(span, { minLength: 1, maxLength: 4 }), fc.boolean(), (spans, buffer) => {
      const whole = Uint8Array.from({ length: 40 }, (_, i) => i)
      const views = spans.map(([start, length], i) =>
        i % 2 === 0 ? whole.subarray(start, start + length) : new DataView(whole.buffer, start, length),
      )
      const value = Object.fromEntries(views.map((view, i) => [`view${i}`, view as unknown]))
      if (buffer) value.buffer = whole.buffer
      const shared = whole.some(
        (_, at) => spans.filter(([from, n]) => at >= from && at < from + n).length > (buffer ? 0 : 1),
      )
      if (!shared) assert.deepEqual(round(value), value)
      else {
        refused += 1
        assert.match(
          refusal(value),
          /^attribute value\[1\]\.in\.(view\d|buffer) of Test holds bytes that another value/,
        )
      }
    }),
    { numRuns: 1000 },
  )
  t.ok(refused > 50)
  const one = Buffer.from('one')
  assert.deepEqual(round([one, { one }]), [one, { one }], 'the same view in two places is one')
  assert.deepEqual(
    round(Array.from({ length: 99 }, (_, i) => Buffer.from(`${i}`))),
    Array.from({ length: 99 }, (_, i) => Buffer.from(`${i}`)),
  )
})

t.test('what would come back as something else is refused', async t => {
  t.match(refusal(new Uint8Array(new SharedArrayBuffer(8))), /a Uint8Array over memory that threads share/)
  t.match(refusal(Buffer.from(new SharedArrayBuffer(8))), /a Buffer over memory/)
  const growing = new (ArrayBuffer as unknown as new (n: number, o: object) => ArrayBuffer)(8, { maxByteLength: 16 })
  t.match(refusal(growing), /an? ArrayBuffer whose length may change/)
  t.match(refusal(new Int32Array(growing)), /an Int32Array whose length may change/)
  const given = new Uint8Array(8)
  structuredClone(given, { transfer: [given.buffer] })
  t.match(refusal(given), /a Uint8Array whose bytes were given away/)
  for (const { prototype, name } of [Buffer, Float32Array, ArrayBuffer, DataView, Map, Set, Date, Array])
    t.match(
      refusal(Object.create(prototype)),
      new RegExp(`holds an object of class ${name}`),
      'what only looks like one',
    )
  t.match(refusal(new Proxy(new Map(), {})), /an object of class Map/)
  t.match(refusal(runInNewContext('[1]')), /an object of class Array, one of another realm/)
  const growingMap = new Map<unknown, unknown>([
    [
      'a',
      {
        get b() {
          return growingMap.set('c', 1).size
        },
      },
    ],
  ])
  t.match(refusal(growingMap), /holds members that came or went while they were read/)
  const shrinking: Set<unknown> = new Set([
    {
      get b() {
        return shrinking.delete('c')
      },
    },
    'c',
  ])
  t.match(refusal(shrinking), /holds members that came or went while they were read/)
})

t.test('an element that is not enumerable is an element', async t => {
  for (const length of [2, 60]) {
    const array = Array.from({ length }, (_, i) => i)
    t.same(
      round(Object.defineProperty([...array], '1', { value: 'x', enumerable: false })),
      array.with(1, 'x' as never),
    )
  }
})

t.test('an invalid date stays one', async t => t.ok(Number.isNaN((round(new Date(Number.NaN)) as Date).getTime())))

t.test('shared and cyclic values keep their shape', async t => {
  const shared = { tags: ['x'] }
  const cyclic: Record<string, unknown> = { a: shared, b: [shared], m: new Map(), s: new Set(), hole: new Array(3) }
  cyclic.self = cyclic
  ;(cyclic.m as Map<unknown, unknown>).set(cyclic, [shared])
  ;(cyclic.s as Set<unknown>).add(cyclic.m)
  ;(cyclic.hole as unknown[])[1] = cyclic
  const copy = round(cyclic) as typeof cyclic
  t.equal(copy.self, copy)
  t.equal((copy.b as unknown[])[0], copy.a)
  t.same(copy.a, shared)
  const map = copy.m as Map<unknown, unknown[]>
  t.equal(map.get(copy)?.[0], copy.a)
  t.ok((copy.s as Set<unknown>).has(map))
  t.equal((copy.hole as unknown[])[1], copy)
  t.notOk(0 in (copy.hole as unknown[]))
})

t.test('property: graphs with shared nodes come back with the same sharing', async t => {
  const graph = fc.array(fc.array(fc.nat(7), { maxLength: 4 }), { minLength: 8, maxLength: 8 })
  fc.assert(
    fc.property(graph, edges => {
      const nodes: { n: number; to: unknown[] }[] = edges.map((_, n) => ({ n, to: [] }))
      for (const [i, targets] of edges.entries()) nodes[i]!.to.push(...targets.map(target => nodes[target]))
      assert.deepStrictEqual(round(nodes), nodes)
    }),
    { numRuns: 500 },
  )
  t.pass()
})

t.test('names that mean something to JavaScript are only names', async t => {
  const copy = round(JSON.parse('{"__proto__":{"polluted":1},"constructor":2}')) as Record<string, unknown>
  t.equal(Object.getPrototypeOf(copy), Object.prototype)
  t.ok(Object.hasOwn(copy, '__proto__'))
  t.equal(({} as { polluted?: unknown }).polluted, undefined)
  t.equal(await codeOf(() => pickle(asState(JSON.parse('{"__proto__":1}')), refer, 'Test')), 'INVALID_VALUE')
})

t.test('property: bytes from nowhere are refused or harmless, and never throw anything else', async t => {
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array({ maxLength: 60 }), value.map(dump)),
      fc.nat(),
      fc.nat(255),
      (bytes, at, byte) => {
        const hostile = Uint8Array.from(bytes)
        if (hostile.length > 0) hostile[at % hostile.length] = byte
        try {
          unpickle(hostile, reference => reference)
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'DATABASE_CORRUPT')
        }
        assert.equal(({} as { polluted?: unknown }).polluted, undefined)
      },
    ),
    { numRuns: 10_000 },
  )
  t.pass()
})

t.test('property: a record with any bit changed, or under another oid, is noticed', async t => {
  const record = {
    className: 'Thing',
    version: 3,
    serial: 1_790_000_000_000_000,
    previous: 5,
    state: Buffer.from('some state'),
  }
  const bytes = wholeRecord(7, record, record.serial, record.previous).bytes
  const { className, version, serial, previous, state } = decodeRecord(7, bytes)
  t.same({ className, version, serial, previous, state }, record)
  t.equal(await codeOf(() => decodeRecord(8, bytes)), 'DATABASE_CORRUPT')
  for (let length = 0; length < bytes.length; length++)
    if ((await codeOf(() => decodeRecord(7, bytes.subarray(0, length)))) !== 'DATABASE_CORRUPT')
      t.fail(`cut to ${length} bytes`)
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = Buffer.from(bytes)
    damaged[bit >> 3]! ^= 1 << (bit & 7)
    if ((await codeOf(() => decodeRecord(7, damaged))) !== 'DATABASE_CORRUPT') t.fail(`bit ${bit}`)
  }
})

/** A special that says it is an array of 4,294,967,295 holes. */
const SPARSE = Buffer.from('d4530092a6737061727365ceffffffff', 'hex')

t.test('an array with more holes than may be stored is refused', async t => {
  const most = new Array(2 ** 24)
  most[5] = 'x'
  t.equal((round(most) as unknown[]).length, 2 ** 24)
  t.equal(await codeOf(() => dump(new Array(2 ** 24 + 1))), 'INVALID_VALUE')
})

t.test('hostile records are refused or give plain values: no code, no prototype, no huge allocation', async t => {
  const special = (...content: unknown[]) =>
    Buffer.concat([Buffer.from([0x81, 0xa1, 0x61, 0xd4, 83, 0]), new Packr({ useRecords: false }).pack(content)])
  const under = (...bytes: number[]) => Buffer.from([0x81, 0xa1, 0x61, ...bytes])
  const refused: Record<string, Uint8Array> = {
    'nested deeper than the stack': Buffer.concat([under(), Buffer.alloc(300_000, 0x91), Buffer.from([0xc0])]),
    'an array of four billion': under(0xdd, 0xff, 0xff, 0xff, 0xff),
    'a map of four billion': Buffer.from([0xdf, 0xff, 0xff, 0xff, 0xff]),
    'a text of four billion': under(0xdb, 0xff, 0xff, 0xff, 0xff, 0x61),
    'bytes of two billion': under(0xc6, 0x7f, 0xff, 0xff, 0xff, 0x61),
    'an extension of two billion': under(0xc9, 0x7f, 0xff, 0xff, 0xff, 2),
    'bytes that are a number': special('bytes', 4_000_000_000),
    'text that is a number': special('utf16', 5),
    'a hole outside of its array': special('sparse', 5, [1e15, 1]),
    'an array of negative length': special('sparse', -1),
    'kind constructor': special('constructor', 'return process'),
    'kind __proto__': special('__proto__'),
    'kind toString': special('toString'),
    'a map of numbers': special('map', 1, 2),
    'a node outside of a graph': special('node', 0),
    'a graph without nodes': special('graph', {}, null),
    'a graph of a number': special('graph', 5, [1]),
    'an attribute __proto__': Buffer.concat([
      Buffer.from([0x81, 0xa9]),
      Buffer.from('__proto__'),
      Buffer.from([0x81, 0xa1, 0x78, 1]),
    ]),
    'a graph within a state': under(0x91, ...special('graph', {}, []).subarray(3)),
    'a graph under a name': special('graph', {}, []),
    'an array of four billion holes': Buffer.concat([under(), SPARSE]),
    'a special that is an array of four billion holes': Buffer.concat([under(0xd4, 83, 0), SPARSE]),
    'a graph of four billion nodes': Buffer.concat([
      Buffer.from('81a0d4530093a56772617068', 'hex'),
      Buffer.of(0x80),
      SPARSE,
    ]),
    'no attributes': new Packr().pack([1]),
  }
  for (const [what, bytes] of Object.entries(refused))
    t.equal(await codeOf(() => unpickle(bytes, reference => reference)), 'DATABASE_CORRUPT', what)
  const harmless = {
    __proto__: special('entries', false, ['__proto__', { polluted: 1 }]),
    bare: special('entries', true, ['__proto__', { polluted: 1 }], ['constructor', 1]),
  }
  for (const bytes of Object.values(harmless)) {
    const record = unpickle(bytes, reference => reference)
    t.notOk('polluted' in record || 'x' in record || 'polluted' in ((record.a as object) ?? {}), 'nothing is inherited')
  }
  t.notOk('polluted' in {} || 'x' in {})
  t.same(unpickle(pickle({ a: 1 }, refer, 'x'), refer), { a: 1 }, 'the next record is read as ever')
})

t.test('collections may have any number of members', async t => {
  const count = 200_000
  const numbers = Array.from({ length: count }, (_, i) => i)
  const sparse: unknown[] = []
  for (const i of numbers) sparse[2 * i] = i
  const collections = {
    map: new Map(numbers.map(i => [i, i])),
    set: new Set(numbers),
    object: Object.fromEntries(numbers.map(i => [`key ${i}`, i])),
    sparse,
  }
  for (const [name, collection] of Object.entries(collections))
    t.ok(isDeepStrictEqual(round(collection), collection), name)
})

t.test('values nested deeper than they could be loaded are refused, and those that are not are loaded', async t => {
  const nestings: Record<string, (value: unknown) => unknown> = {
    array: value => [value],
    object: value => ({ value }),
    map: value => new Map([['value', value]]),
  }
  for (const [name, nest] of Object.entries(nestings)) {
    const nested = (depth: number) => {
      let value: unknown = 1
      for (let i = 0; i < depth; i++) value = nest(value)
      return value
    }
    t.ok(isDeepStrictEqual(round(nested(200)), nested(200)), name)
    for (const depth of [201, 100_000])
      t.equal(await codeOf(() => dump(nested(depth))), 'INVALID_VALUE', `${name}, ${depth} deep`)
  }
})

t.test('more attributes than a record can have are refused', async t => {
  const state = (count: number) => asState(Object.fromEntries(Array.from({ length: count }, (_, i) => [`a${i}`, i])))
  t.equal(Object.keys(unpickle(pickle(state(65_535), refer, 'x'), reference => reference)).length, 65_535)
  t.equal(await codeOf(() => pickle(state(65_536), refer, 'x')), 'INVALID_VALUE')
})

t.test('attributes that records cannot name are refused', async t => {
  for (const name of ['', '__proto__', 'constructor', '_p_oid', 'half of a pair: \ud800']) {
    const state = Object.create(null)
    state[name] = 1
    t.equal(await codeOf(() => pickle(state, refer, 'x')), 'INVALID_VALUE', name)
  }
})
