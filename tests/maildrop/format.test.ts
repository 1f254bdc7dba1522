/** The mail file: what is read out of it, what is refused with which words, and that no file holds up the others. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { parseAddressList } from '../../maildrop/spool/address.ts'
import {
  formatMailFile,
  MAX_ENVELOPE_BYTES,
  type MailHead,
  parseMailFile,
  parseMailHead,
} from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { PROJECT } from '../support/children.ts'
import { SAMPLE } from '../support/maildrop.ts'
import { fc } from '../support/properties.ts'

const head = (text: string | Uint8Array): MailHead => {
  const bytes = Buffer.from(text)
  return parseMailHead(bytes, bytes.length)
}
const problem = (text: string | Uint8Array): string => {
  const found = head(text)
  return found.kind === 'mail' ? 'none' : `${found.kind}: ${found.problem}`
}

t.test('the sample of the documentation, and the shipped one, give envelope and message', async t => {
  const { id, envelope, message } = parseMailFile(Buffer.from(SAMPLE))
  t.equal(id, undefined)
  t.strictSame(envelope, { from: 'sender@example.org', to: ['ann@example.org', 'bob@example.org'] })
  t.equal(message.toString(), SAMPLE.split('\n').slice(2).join('\n'))
  const shipped = parseMailFile(readFileSync(join(PROJECT, 'maildrop', 'SAMPLE_MAIL.txt')))
  t.strictSame(shipped.envelope, envelope)
  t.match(shipped.message.toString(), /^From: "Sender".*\nTo: .*\nSubject: This is a test message\n\n/)
})

t.test('CRLF and LF, any order and any case of the keys mean the same', async t => {
  for (const text of [
    '##To:a@b.org\n##From:c@d.org\nSubject: x\n\ny\n',
    '##To:a@b.org\r\n##From:c@d.org\r\nSubject: x\n\ny\n',
    '##FROM: c@d.org \n##to:\ta@b.org\nSubject: x\n\ny\n',
    '##from:<c@d.org>\n##tO:"Ann, B" <a@b.org>, a@b.org,,\nSubject: x\n\ny\n',
  ]) {
    const { envelope, message } = parseMailFile(Buffer.from(text))
    t.strictSame(envelope, { from: 'c@d.org', to: ['a@b.org'] }, JSON.stringify(text.slice(0, 20)))
    t.equal(message.toString(), 'Subject: x\n\ny\n')
  }
})

t.test('an empty sender and <> are the null sender', async t => {
  for (const from of ['', '<>', ' <> ']) {
    t.match(head(`##To:a@b.org\n##From:${from}\n\nx`), { kind: 'mail', envelope: { from: '' } })
  }
})

t.test('##Not-Before is seconds since 1970, or date, time and zone; anything else is said to be wrong', async t => {
  const read = (value: string) => head(`##To:a@b.org\n##From:\n##Not-Before:${value}\n\nx`)
  const six = Date.UTC(2026, 11, 24, 17, 0, 0)
  for (const value of [
    String(six / 1000),
    '2026-12-24T18:00:00+01:00',
    '2026-12-24T17:00Z',
    '2026-12-24 12:00:00.000 -0500',
    '2026-12-24t17:00:00.000000z',
  ])
    t.match(read(value), { kind: 'mail', notBefore: six }, value)
  for (const value of [
    '',
    'tomorrow',
    '-1',
    '1.5',
    '999999999999',
    '2026-12-24',
    '2026-12-24T18:00:00',
    '2026-02-30T00:00Z',
    '2026-12-24T25:00Z',
    '2026-12-24T18:00:00+99:00',
    '+012026-12-24T18:00Z',
  ])
    t.match(
      problem(`##To:a@b.org\n##From:\n##Not-Before:${value}\n\nx`),
      /^malformed: ##Not-Before is ".*"; expected/,
      value,
    )
  t.match(problem('##Not-Before:1\n##To:a@b.org\n##Not-Before:2\n##From:\n\nx'), 'there are two ##not-before lines')
})

t.test('a time that is written is read back', async t => {
  const notBefore = new Date('2026-12-24T17:00:00.500Z')
  const bytes = formatMailFile({ id: 'x', from: '', to: ['a@b.org'], notBefore }, Buffer.from('##x'))
  t.match(parseMailHead(bytes, bytes.length), { kind: 'mail', notBefore: notBefore.getTime() })
  for (const wrong of [new Date(Number.NaN), new Date(-1), new Date('+010000-01-01T00:00:00Z')])
    t.throws(() => formatMailFile({ id: 'x', from: '', to: ['a@b.org'], notBefore: wrong }, Buffer.from('x')), {
      code: 'INVALID_MAIL_FILE',
    })
})

t.test('unknown ## lines stay in the file and out of the message', async t => {
  const text = '##X-Ours:1\n##To:a@b.org\n##X-Ours:2\n##From:c@d.org\n##Later:\nSubject: x\n\ny'
  t.equal(parseMailFile(Buffer.from(text)).message.toString(), 'Subject: x\n\ny')
})

t.test('## lines count only at the top: a body cannot replace the envelope', async t => {
  const body = '##To:evil@example.org\n##From:evil@example.org\n'
  const below = parseMailFile(Buffer.from(`##To:a@b.org\n##From:c@d.org\nSubject: x\n\n${body}`))
  t.strictSame(below.envelope, { from: 'c@d.org', to: ['a@b.org'] })
  t.ok(below.message.toString().endsWith(body))
  const blank = parseMailFile(Buffer.from(`##To:a@b.org\n##From:c@d.org\n\n${body}`))
  t.strictSame(blank.envelope, { from: 'c@d.org', to: ['a@b.org'] })
  t.equal(blank.message.toString(), `\n${body}`)
  t.equal(problem(`##To:a@b.org\n##From:c@d.org\n${body}`), 'malformed: there are two ##to lines; expected one')
  const measured = parseMailFile(formatMailFile({ id: 'a', from: 'c@d.org', to: ['a@b.org'] }, Buffer.from(body)))
  t.strictSame(measured.envelope, { from: 'c@d.org', to: ['a@b.org'] })
  t.equal(measured.message.toString(), body, 'with ##Length even a message that begins with ## is kept')
})

t.test('address lists are read as RFC 5322 means them', async t => {
  const read = (list: string): unknown => {
    const text = Buffer.from(`##To:${list}\n##From:\n\nx`)
    const head = parseMailHead(text, text.length)
    return head.kind === 'mail' ? head.envelope.to.join(' ') : `${'problem' in head && head.problem}`
  }
  for (const [list, expected] of Object.entries({
    'a@b.org,c@d.org': 'a@b.org c@d.org',
    'Team: a@b.org, "C; c" <c@d.org>; , e@f.org': 'a@b.org c@d.org e@f.org',
    'nobody:;, a@b.org': 'a@b.org',
    'One:a@b.org;,Two:c@d.org;': 'a@b.org c@d.org',
    '(x)a@b.org(y \\) (z)), <c@d.org> (d)': 'a@b.org c@d.org',
    'x@y.org <a@b.org>': 'a@b.org',
    '"a(b"@c.org, "a\\"<:;,"@c.org': '"a(b"@c.org "a\\"<:;,"@c.org',
    'a@[IPv6:::1]': 'a@[IPv6:::1]',
  }))
    t.equal(read(list), expected, list)
  for (const [list, problem] of Object.entries({
    'a@b.org; c@d.org': '##To: "a@b.org;" ends with a ; out of place',
    ': a@b.org;': '##To: ":" ends with a : out of place',
    'One: Two: a@b.org;;': '##To: "One: Two:" ends with a : out of place',
    'One: a@b.org; c@d.org': '##To: "One: a@b.org; c" ends with a c out of place',
    '<a@b.org> c@d.org': '##To: "<a@b.org> c" ends with a c out of place',
    '<a@b.org': '##To: a < is not closed in "<a@b.org"',
    'a@b.org (x': '##To: a comment is not closed in "a@b.org (x"',
    '"a@b.org': '##To: a quoted text is not closed in "\\"a@b.org"',
    'a(x)b@c.org': '##To: address "a b@c.org" cannot be used: expected local@domain',
    '<>': '##To: address "" cannot be used: it is empty',
    '<@x.org:a@b.org>': '##To: address "@x.org:a@b.org" cannot be used: expected local@domain',
  }))
    t.equal(read(list), problem, list)
  for (const piece of [' ', '<', '(', '"', '[', ':', ';', 'a:;', '\\', '("', '<"'])
    t.ok(`${read(`a${piece.repeat(250_000)}b@c.org`)}`.length < 600, `many ${piece}`)
})

t.test('what is wrong is said in words, and whether more bytes could mend it', async t => {
  const incomplete = {
    '': 'there is no ##To line at the top',
    '##To:a@b.org': 'the file ends within its ## lines',
    '##To:a@b.org\n': 'there is no ##From line at the top',
    '##To:a@b.org\n##From:\n': 'no message follows the ## lines',
    '##Length:5\n##To:a@b.org\n##From:\nfour': 'the file is shorter than its ##Length promises',
  }
  const malformed = {
    'Subject: x\n\nno envelope': 'there is no ##To line at the top',
    '##x\n##To:a@b.org\n': 'the line "##x" has no key and colon; expected ##Key:value',
    '##To:\n##From:\n\nx': '##To names no recipient',
    '##To:a@b.org,\n c@d.org\n##From:\n\nx': 'a line that begins with a blank follows the ## lines',
    '##To:,,\n##From:\n\nx': '##To names no recipient',
    '##To:a b@c.org\n##From:\n\nx': '##To: address "a b@c.org" cannot be used: expected local@domain',
    '##To:a@b.org\n##From:a@b.org,c@d.org\n\nx': '##From names more than one sender',
    '##To:a@b.org\u0000\n##From:\n\nx': 'a ## line is not UTF-8, or contains a NUL or another control character',
    '##Length:x\n##To:a@b.org\n##From:\nx': '##Length is "x"; expected a number of bytes',
    '##Length:3\n##To:a@b.org\n##From:\nfour': 'the file is longer than its ##Length promises',
  }
  for (const [text, expected] of Object.entries(incomplete))
    t.ok(problem(text).startsWith(`incomplete: ${expected}`), `${JSON.stringify(text)}: ${problem(text)}`)
  for (const [text, expected] of Object.entries(malformed))
    t.ok(problem(text).startsWith(`malformed: ${expected}`), `${JSON.stringify(text)}: ${problem(text)}`)
  t.match(problem(Buffer.from('##To:\xff\n##From:\n\nx', 'latin1')), /^malformed: a ## line is not UTF-8/)
  t.match(problem(`##To:${'x'.repeat(MAX_ENVELOPE_BYTES)}`), /^malformed: the ## lines take more than 1048576 bytes/)
})

t.test('what is written is read back the same, whatever the bytes of the message', async t => {
  const local = fc.stringMatching(/^[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}$/)
  const quoted = fc.stringMatching(/^[a-z ,@<>.]{1,10}$/).map(text => `"${text}"`)
  const address = fc
    .tuple(fc.oneof(local, quoted), fc.stringMatching(/^[a-zäß0-9]{1,10}(\.[a-z0-9]{1,10}){0,2}$/))
    .map(([name, domain]) => `${name}@${domain}`)
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.string({ maxLength: 100 }).map(text => Buffer.from(`##To:${text}\n##${text}\n`)),
  )
  fc.assert(
    fc.property(
      fc.oneof(address, fc.constant('')),
      fc.uniqueArray(address, { minLength: 1, maxLength: 10 }),
      message,
      (from, to, bytes) => {
        const id = newMailId()
        const file = formatMailFile({ id, from, to }, bytes)
        const read = parseMailFile(file)
        assert.deepEqual({ ...read.envelope, id: read.id }, { from, to, id })
        assert.deepEqual(read.message, Buffer.from(bytes))
        for (const cut of [file.length - 1, Math.floor(file.length / 2), 3]) {
          const part = head(file.subarray(0, cut))
          assert.notEqual(part.kind, 'mail', `a file cut at ${cut} of ${file.length} bytes counts as whole`)
        }
      },
    ),
    { numRuns: 300 },
  )
  t.pass('300 files')
})

t.test('no bytes at all make the reader throw or read beyond the file', async t => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom('##To:a@b.org', '##From:', '##Length:3', '##', '##:', '##Id:x', ''),
  )
  const text = fc.array(line, { maxLength: 8 }).map(lines => Buffer.from(lines.join('\n')))
  fc.assert(
    fc.property(fc.oneof(text, fc.uint8Array({ maxLength: 200 })), bytes => {
      const found = head(bytes)
      if (found.kind !== 'mail') return found.problem !== '' && !found.problem.includes('\n')
      return found.envelope.to.length > 0 && found.start <= bytes.length
    }),
    { numRuns: 2000 },
  )
  t.pass('2000 files')
})

t.test('addresses that would break a line or a command are refused when a mail file is made', async t => {
  for (const address of ['', 'a@b\nRCPT TO:<x@y>', 'a@b.org\r', '<a@b.org>', 'a@b@c', 'a b@c.org', 'x'.repeat(321)])
    t.throws(() => formatMailFile({ id: 'a', from: '', to: [address] }, Buffer.from('x')), {
      code: 'INVALID_ADDRESS',
      message: `recipient ${JSON.stringify(address)} cannot be used`,
    })
  t.throws(() => formatMailFile({ id: 'a', from: '', to: [] }, Buffer.from('x')), { code: 'INVALID_ADDRESS' })
  for (const id of ['', '../x', '.x', 'x.lck', 'x.sent1', 'x.json', 'failed', 'hold', 'X', 'a/b'])
    t.throws(() => formatMailFile({ id, from: '', to: ['a@b.org'] }, Buffer.from('x')), { code: 'INVALID_MAIL_ID' })
})

t.test('an address that stands alone is read as it is among blanks', async () => {
  const text = fc.stringMatching(/^[a-z.K(",<> é]{0,8}[a-z0-9+]{0,70}@?[a-zA-Z0-9.[)>;ä-]{0,10}[a-z]{0,280}$/)
  fc.assert(
    fc.property(text, text => {
      const [alone, among] = [parseAddressList(text), parseAddressList(` ${text}`)]
      assert.equal('problem' in alone, 'problem' in among)
      if (!('problem' in alone)) assert.deepEqual(alone, among)
    }),
    { numRuns: 1000 },
  )
})
