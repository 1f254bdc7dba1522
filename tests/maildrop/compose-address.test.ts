/** Addresses: what is read as one, how it is written, what is refused. */
import assert from 'node:assert/strict'
import t from 'tap'
import {
  type Address,
  ComposeError,
  formatAddresses,
  mailboxesOf,
  parseAddresses,
  parseMailbox,
} from '../../maildrop/compose/index.ts'
import { fc } from '../support/properties.ts'

const read = (list: string) => parseAddresses(list, 'To')
const addressesOf = (list: string) => mailboxesOf(read(list)).map(({ address }) => address)

t.test('an address list is read by RFC 5322', async t => {
  const cases: [string, Address[]][] = [
    ['ann@example.org', [{ name: '', address: 'ann@example.org' }]],
    ['Ann Lee <ann@example.org>', [{ name: 'Ann Lee', address: 'ann@example.org' }]],
    ['"Lee, Ann" <ann@example.org>', [{ name: 'Lee, Ann', address: 'ann@example.org' }]],
    ['"a \\"b\\" c" <a@b.c>', [{ name: 'a "b" c', address: 'a@b.c' }]],
    ['=?utf-8?q?J=C3=B6rg?= =?utf-8?b?IEzDtg==?= <j@b.c>', [{ name: 'Jörg Lö', address: 'j@b.c' }]],
    ['a@b.c (home (or not)), d@e.f', ['a@b.c', 'd@e.f'].map(address => ({ name: '', address }))],
    ['"a b"@c.d', [{ name: '', address: '"a b"@c.d' }]],
    ['"ab"@c.d', [{ name: '', address: 'ab@c.d' }]],
    ['ann@[192.0.2.1]', [{ name: '', address: 'ann@[192.0.2.1]' }]],
    ['ann@[IPv6:2001:db8::1]', [{ name: '', address: 'ann@[IPv6:2001:db8::1]' }]],
    ['jörg@MÜLLER.de', [{ name: '', address: 'jörg@xn--mller-kva.de' }]],
    ['undisclosed-recipients:;', [{ name: 'undisclosed-recipients', members: [] }]],
    [
      'Team: a@b.c, D <d@e.f>;',
      [
        {
          name: 'Team',
          members: [
            { name: '', address: 'a@b.c' },
            { name: 'D', address: 'd@e.f' },
          ],
        },
      ],
    ],
    ['', []],
  ]
  for (const [list, expected] of cases) t.same(read(list), expected, JSON.stringify(list))
})

t.test('what is not an address is refused, with its place', async t => {
  const cases: [string, RegExp][] = [
    ['ann', /'@' at the end/],
    ['ann@', /domain after '@' at the end/],
    ['@example.org', /character 1/],
    ['ann lee@example.org', /character 8/],
    ['a..b@c.d', /two in a row/],
    ['.a@c.d', /a dot at an end/],
    ['a@b_c.d', /"b_c\.d"/],
    ['a@-b.d', /domain/],
    ['a@0x7f.1', /domain/],
    ['a@ex%41mple.é', /domain/],
    ['a@[300.1.1.1]', /domain/],
    ['a@b.c d@e.f', /comma between two addresses at character 7/],
    ['<a@b.c', /'>'/],
    ['"a@b.c', /not closed, at character 1/],
    ['<@x,@y:a@b.c>', /character 2/],
    ['G: a@b.c', /';' that ends the group|',' or ';'/],
    ['a@b.c\r\nBcc: d@e.f', /control character at character 6/],
    ['a@b.c\u0000', /control character/],
    ['"😀" <x@y.z>, a@b.c\u0007', /control character at character 19/],
    ['😀 b@c.d e', /character 4/],
    ['"a\u2028b"@c.d', /control character/],
    ['a\u200b@c.d', /invisible/],
    [`${'x'.repeat(65)}@c.d`, /64 bytes/],
    [`a@${'x'.repeat(64)}.d`, /domain/],
  ]
  for (const [list, message] of cases) t.throws(() => read(list), { code: 'BAD_ADDRESS', message }, encodeURI(list))
})

t.test('a value names one address, and several only as an array', async t => {
  const named = (value: unknown) => mailboxesOf(parseAddresses([{ value }], 'To')).map(({ address }) => address)
  t.same(named('a@b.c'), ['a@b.c'])
  t.same(named('Ann <a@b.c>'), ['a@b.c'])
  t.same(named(['a@b.c', { name: 'D', address: 'd@e.f' }, '']), ['a@b.c', 'd@e.f'])
  t.same(named(undefined), [])
  for (const value of ['a@b.c, d@e.f', 'G: a@b.c;', ['a@b.c, d@e.f'], [['a@b.c']], 7, {}])
    t.throws(() => named(value), { code: 'BAD_ADDRESS' }, JSON.stringify(value))
})

t.test('a value inside a name, a local part or a domain stays there', async t => {
  const value = 'x>, <evil@e.e'
  t.same(parseAddresses(['"Dear ', { value }, '" <a@b.c>'], 'To'), [{ name: `Dear ${value}`, address: 'a@b.c' }])
  t.same(parseAddresses([{ value }, ' <a@b.c>'], 'To'), [{ name: value, address: 'a@b.c' }])
  t.same(parseAddresses(['bounce-', { value: 42 }, '@b.c'], 'To'), [{ name: '', address: 'bounce-42@b.c' }])
  t.same(parseAddresses(['a@', { value: 'b.c' }], 'To'), [{ name: '', address: 'a@b.c' }])
  t.throws(() => parseAddresses(['a@', { value }], 'To'), { code: 'BAD_ADDRESS' })
  t.throws(() => parseAddresses(['<', { value }, '>'], 'To'), { code: 'BAD_ADDRESS' })
  t.same(addressesOf(formatAddresses(parseAddresses(['<', { value }, '@b.c>'], 'To'))).length, 1)
})

t.test('an encoded-word in a value is text', async t => {
  const value = '=?utf-8?q?=0D=0ABcc:x@y.z?='
  const [mailbox] = parseAddresses([{ value }, ' <a@b.c>'], 'To')
  t.same(mailbox, { name: value, address: 'a@b.c' })
  t.same(read(formatAddresses([mailbox!])), [mailbox], 'and survives being written and read')
})

const name = fc.string({ unit: 'grapheme', maxLength: 60 }).map(text => text.replace(/[\p{C}\p{Z}]+/gu, ' ').trim())
const atom = fc.string({ unit: fc.constantFrom(...'abcXYZ019!#$%&*+/=?^_`{|}~-é日'), minLength: 1, maxLength: 10 })
const quoted = fc.string({ unit: fc.constantFrom(...'ab "\\@,;<>()[]:.é'), minLength: 1, maxLength: 12 })
const label = fc.string({ unit: fc.constantFrom(...'abcxyz019'), minLength: 1, maxLength: 12 })
const domain = fc.tuple(label, fc.constantFrom('org', 'example.com')).map(labels => labels.join('.'))
const mailbox = fc.tuple(name, fc.oneof(atom, quoted), domain).map(([name, local, domain]) => {
  const { address } = parseMailbox(`"${local.replace(/["\\]/g, '\\$&')}"@${domain}`, 'To')
  return { name, address }
})
const group = fc
  .tuple(
    name.filter(text => text !== ''),
    fc.array(mailbox, { maxLength: 3 }),
  )
  .map(([name, members]) => ({ name, members }))

t.test('reading what was written gives the same addresses', async () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(mailbox, group), { maxLength: 5 }), addresses => {
      assert.deepEqual(read(formatAddresses(addresses)), addresses)
    }),
    { numRuns: 500 },
  )
})

t.test('one address is read as it is in a list', async () => {
  const outcome = (read: () => string | undefined) => {
    try {
      return read()
    } catch (error) {
      return (error as Error).message
    }
  }
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'ab0_+-.@A', '@c.d'), maxLength: 8 }), text => {
      fc.pre(text !== '')
      const one = outcome(() => parseMailbox(text, 'To').address)
      assert.equal(
        one,
        outcome(() => addressesOf(text)[0]),
      )
    }),
    { numRuns: 2000 },
  )
})

t.test('any text is read or refused with BAD_ADDRESS, and what is read names what its form says', async () => {
  const soup = fc.string({ unit: fc.constantFrom(...'ab@.,;:<>()[]"\\ \t\r\n\u0000\u2028é=?'), maxLength: 30 })
  fc.assert(
    fc.property(soup, text => {
      try {
        const written = formatAddresses(read(text))
        assert.doesNotMatch(written, /[\r\n\u0000\u2028]/)
        assert.deepEqual(addressesOf(written), addressesOf(text))
      } catch (error) {
        if (!(error instanceof ComposeError)) throw error
      }
    }),
    { numRuns: 5000 },
  )
})
