/** Bytes as somebody would make them who wants to do harm: sound ones, changed in places that matter. */
import { fc } from './properties.ts'

const of = (hex: string) => Buffer.from(hex, 'hex')
const named = (name: string) => Buffer.concat([Buffer.of(0xa0 | name.length), Buffer.from(name)])
const kind = (name: string, ...content: Buffer[]) =>
  Buffer.concat([of('d45300'), Buffer.of(0x91 + content.length), named(name), ...content])

/** What is worth trying in the middle of a state: lengths that are not there, nesting, names of JavaScript's, values of other kinds. */
const PIECES = [
  ...[
    'ddffffffff',
    'dd01ffffff',
    'dcffff',
    'dfffffffff',
    'df01ffffff',
    'deffff',
    'dbffffffff',
    'd9ff',
    'c6ffffffff',
    'c67fffffff',
  ],
  ...[
    'c9ffffffff42',
    'c9ffffffff74',
    'c7ff42',
    'd442ff',
    'd47400',
    'd474ff',
    'd57405ff',
    'd6ff00000000',
    'd7ffffffffffffffffff',
  ],
  ...[
    'c1',
    'c0',
    'd40000',
    'cbffffffffffffffff',
    'cf7fffffffffffffff',
    'd38000000000000000',
    'd465',
    'd472',
    'd473',
    'd478',
    'd469',
  ],
  ...['d4520092', 'd452009201a0', 'd45200920091a0', 'd452009280a0', 'd45300', 'd4530090', 'd453009100'],
]
  .map(of)
  .concat(
    ['__proto__', 'constructor', 'prototype', 'toString', 'then', '__parent__', '__name__'].map(named),
    [
      'map',
      'set',
      'bytes',
      'utf16',
      'sparse',
      'entries',
      'node',
      'graph',
      'minus zero',
      '__proto__',
      'constructor',
    ].map(each => kind(each)),
    [
      kind('node', of('00')),
      kind('node', of('cbffefffffffffffff')),
      kind('sparse', of('ceffffffff')),
      kind('sparse', of('cb41f0000000000000')),
      kind('graph', of('80'), of('90')),
      kind('graph', of('81a161'), kind('node', of('00')), of('91')),
      kind('entries', of('c3'), of('92'), named('__proto__'), of('80')),
      kind('map', of('92'), kind('node', of('00')), of('01')),
      Buffer.alloc(600, 0x91),
      Buffer.alloc(5000, 0x91),
      Buffer.concat(Array.from({ length: 300 }, () => of('d4530092a3736574'))),
      Buffer.concat(Array.from({ length: 100 }, () => of('dd01ffffff'))),
    ],
  )

type Edit = readonly [at: number, skip: number, put: Uint8Array]

const edit = (length: number): fc.Arbitrary<Edit> =>
  fc.tuple(
    fc.nat(length),
    fc.oneof(fc.constant(0), fc.nat(8)),
    fc.oneof(fc.constantFrom(...PIECES), fc.uint8Array({ maxLength: 5 })),
  )

const apply = (bytes: Buffer, [at, skip, put]: Edit) =>
  Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + skip)])

/** Either any bytes, or those of one of the sound ones with a few things overwritten, cut out or put in. */
export const hostile = (...sound: readonly Buffer[]): fc.Arbitrary<Buffer> =>
  fc.oneof(
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 80 }).map(bytes => Buffer.from(bytes)) },
    {
      weight: 9,
      arbitrary: fc
        .constantFrom(...sound)
        .chain(bytes =>
          fc.array(edit(bytes.length), { minLength: 1, maxLength: 4 }).map(edits => edits.reduce(apply, bytes)),
        ),
    },
  )

/** Fails if `run` leaves, or needs at its end, more than that many bytes more than there were. */
export function withinBytes(limit: number, run: () => void): void {
  const used = () => {
    const { heapUsed, arrayBuffers, external } = process.memoryUsage()
    return heapUsed + Math.max(arrayBuffers, external)
  }
  const before = used()
  run()
  const more = used() - before
  if (more > limit) throw new Error(`it took ${more} bytes`)
}
