/**
 * Hostile values in every place of a mail, by every way a template can write a value: an independent parser must find the
 * headers and recipients that the template wrote, or the page must be refused and nothing sent.
 */
import assert from 'node:assert/strict'
import { simpleParser } from 'mailparser'
import t from 'tap'
import { TemplateError } from '../../templates/index.ts'
import { BREAKS, EVIL, mixed } from '../support/mail-fuzz.ts'
import { renderMail, type SentMail } from '../support/mail-page.ts'
import { fc } from '../support/properties.ts'

interface Way {
  /** Written in text. */
  readonly text: string
  /** Written before the page. */
  readonly before?: string
}
/** How the value `v` can be written in text. */
const WAYS: Record<string, Way> = {
  direct: { text: '<<v>>' },
  curly: { text: '{{v}}' },
  triple: { text: '{{{v}}}' },
  'triple <': { text: '<<<v>>>' },
  '&': { text: '<<&v>>' },
  '#if': { text: '<<#if v>><<v>><</if>>' },
  '#unless': { text: '<<#unless no>><<v>><</unless>>' },
  '#each': { text: '<<#each list>><<this>><</each>>' },
  '#list': { text: '<<#list>><<.>><</list>>' },
  '#with': { text: '<<#with v>><<this>><</with>>' },
  'block parameter': { text: '<<#with v as |p|>><<p>><</with>>' },
  partial: { text: '<<> show>>' },
  'partial with a value': { text: '<<> named value=v>>' },
  'inline partial': { text: '<<> mine>>', before: '<<#*inline "mine">><<v>><</inline>>' },
  'partial block': { text: '<<#> around>><<v>><</around>>' },
  lookup: { text: '<<lookup this "v">>' },
  'sub-expression': { text: '<<concat (lookup this "v")>>' },
  '@root': { text: '<<@root.v>>' },
}
const PARTIALS = { show: '<<v>>', named: '<<value>>', around: '<<> @partial-block>>' }

/** How it can be written as an attribute of the block. */
const ATTRIBUTE_WAYS: Record<string, { text: string; around?: [string, string] }> = {
  direct: { text: 'v' },
  lookup: { text: '(lookup this "v")' },
  computed: { text: '(concat "" v)' },
  'block parameter': { text: 'p', around: ['<<#with v as |p|>>', '<</with>>'] },
  '#each': { text: 'this', around: ['<<#each list>>', '<</each>>'] },
  '#with': { text: 'this', around: ['<<#with v>>', '<</with>>'] },
}

interface Position {
  readonly attributes?: (value: string) => string
  readonly lines?: (value: string) => string[]
  readonly body?: (value: string) => string
  /** A value that fits there; undefined where none does. */
  readonly harmless: string | undefined
  /** Whether values may be refused there. */
  readonly strict: boolean
  /** What the reader sees of the value. */
  readonly seen?: (mail: Awaited<ReturnType<typeof simpleParser>>) => string | undefined
}
const HEAD = ['From: "Shop" <shop@example.org>', 'To: ann@example.org', 'Cc: bob@example.org', 'Subject: Order']
const replaceLine = (name: string, line: string) => HEAD.map(each => (each.startsWith(`${name}:`) ? line : each))
const POSITIONS: Record<string, Position> = {
  'a display name in quotes': {
    lines: v => replaceLine('From', `From: "${v}" <shop@example.org>`),
    harmless: 'Ann',
    strict: false,
    seen: mail => mail.from?.value[0]?.name,
  },
  'a display name without quotes': {
    lines: v => replaceLine('To', `To: ${v} < ann@example.org>`),
    harmless: 'Ann',
    strict: false,
    seen: mail => [mail.to ?? []].flat()[0]?.value[0]?.name,
  },
  'a comment of an address': {
    lines: v => replaceLine('To', `To: ann@example.org (${v})`),
    harmless: 'Ann',
    strict: false,
  },
  'an address': { lines: v => replaceLine('To', `To: ${v}`), harmless: 'ann@example.org', strict: true },
  'an address among others': {
    lines: v => replaceLine('Cc', `Cc: bob@example.org, ${v}`),
    harmless: 'cy@example.org',
    strict: true,
  },
  'an address in angle brackets': {
    lines: v => replaceLine('To', `To: "Ann" < ${v} >`),
    harmless: 'ann@example.org',
    strict: true,
  },
  'a local part': { lines: v => replaceLine('To', `To: ${v}@example.org`), harmless: 'ann', strict: true },
  'a domain': { lines: v => replaceLine('To', `To: ann@${v}`), harmless: 'example.org', strict: true },
  'the name of a group': {
    lines: v => replaceLine('To', `To: "${v}": ann@example.org;`),
    harmless: 'Team',
    strict: false,
  },
  'the sender': { lines: v => replaceLine('From', `From: ${v}`), harmless: 'shop@example.org', strict: true },
  'the subject': {
    lines: v => replaceLine('Subject', `Subject: About ${v}.`),
    harmless: 'x',
    strict: false,
    seen: mail => mail.subject?.replace(/^About/, '').replace(/\.$/, ''),
  },
  'a folded line': {
    lines: v => replaceLine('Subject', `Subject: About\n  ${v}.`),
    harmless: 'x',
    strict: false,
    seen: mail => mail.subject?.replace(/^About/, '').replace(/\.$/, ''),
  },
  'a header of its own': {
    lines: v => [...HEAD.slice(0, 2), `X-Own: ${v}`, ...HEAD.slice(2)],
    harmless: 'x',
    strict: false,
  },
  'the first header': { lines: v => [`X-First: ${v}`, ...HEAD], harmless: 'x', strict: false },
  'the last header': { lines: v => [...HEAD, `X-Last: a ${v}`], harmless: 'x', strict: false },
  'the name of a header': { lines: v => [...HEAD, `X-${v}: x`], harmless: undefined, strict: true },
  'the whole name of a header': { lines: v => [...HEAD, `${v}: x`], harmless: undefined, strict: true },
  'a whole header': { lines: v => [...HEAD, v], harmless: undefined, strict: true },
  'the first line': { lines: v => [`${v}: x`, ...HEAD], harmless: undefined, strict: true },
  'the content type': { lines: v => [...HEAD, `Content-Type: ${v}`], harmless: 'text/plain', strict: true },
  'a parameter of the content type': {
    lines: v => [...HEAD, `Content-Type: text/plain; charset=utf-8; name="${v}"`],
    harmless: 'x',
    strict: true,
  },
  'the transfer encoding': {
    lines: v => [...HEAD, `Content-Transfer-Encoding: ${v}`],
    harmless: 'quoted-printable',
    strict: true,
  },
  'the message id': { lines: v => [...HEAD, `Message-ID: ${v}`], harmless: '<x@example.org>', strict: true },
  'a reference': { lines: v => [...HEAD, `References: <a@b.c> ${v}`], harmless: '<x@example.org>', strict: true },
  'the date': { lines: v => [...HEAD, `Date: ${v}`], harmless: '2026-01-01T00:00:00Z', strict: true },
  'the beginning of the body': {
    body: v => `${v} end\n`,
    harmless: 'x',
    strict: false,
    seen: mail => mail.text?.replace(/ end\n$/, ''),
  },
  mailto: { attributes: v => `mailto=${v}`, harmless: 'ann@example.org', strict: true },
  mailfrom: { attributes: v => `mailfrom=${v}`, harmless: 'shop@example.org', strict: true },
  'subject=': { attributes: v => `subject=${v}`, harmless: 'x', strict: false, seen: mail => mail.subject },
}

const HOSTILE = [
  ...BREAKS.flatMap(end => [`Ann${end}Bcc: ${EVIL}`, `${end}To: ${EVIL}${end}${end}body`]),
  `=?utf-8?Q?=0D=0ABcc:_${EVIL}?=`,
  `=?utf-8?B?${Buffer.from(`x\r\nBcc: ${EVIL}`).toString('base64')}?=`,
  `ann@example.org, ${EVIL}`,
  `ann@example.org>, <${EVIL}`,
  `ann@example.org\r\nBcc: ${EVIL}`,
  `ann@example.org\0,${EVIL}`,
  `ann@example.org;${EVIL}`,
  `ann@example.org (x), ${EVIL} (`,
  `", <${EVIL}>, "`,
  `\\", ${EVIL}, \\"`,
  `), ${EVIL} (`,
  `Team: ann@example.org, ${EVIL};`,
  `text/plain\r\nBcc: ${EVIL}`,
  `text/plain; x="\r\nBcc: ${EVIL}"`,
  `multipart/mixed; boundary=x`,
  `x@example.org>\r\nBcc: ${EVIL}`,
  `quoted-printable\nBcc: ${EVIL}`,
  `Bcc: ${EVIL}`,
  `${'x'.repeat(3000)}\nBcc: ${EVIL}`,
  `${'word '.repeat(1000)}\r\nBcc: ${EVIL}`,
  'ü'.repeat(2000),
]

/** A page with `value` in that place, written that way. */
function pageFor(position: Position, way: Way & { around?: readonly [string, string] }): string {
  const { attributes, lines, body } = position
  const head = lines ? lines(way.text) : HEAD
  const [open, close] = way.around ?? ['', '']
  const text = body ? body(way.text) : 'The body.\n'
  return `${way.before ?? ''}${open}<<#sendmail "XYZ" ${attributes?.(way.text) ?? ''}>>\n${head.join('\n')}\n\n${text}<</sendmail>>${close}`
}

async function send(source: string, v: unknown): Promise<SentMail | TemplateError> {
  try {
    const { sent } = await renderMail(source, { v, list: [v], no: false }, PARTIALS)
    assert.equal(sent.length, 1)
    return sent[0]!
  } catch (error) {
    assert.ok(error instanceof TemplateError, String(error))
    assert.ok(['MAIL_REFUSED', 'TEMPLATE_RENDER'].includes(error.code), error.message)
    assert.doesNotMatch(error.message, /[\p{Cc}\u2028\u2029]/u)
    return error
  }
}

const read = async (mail: SentMail) => {
  const parsed = await simpleParser(mail.content)
  const lines = mail.content.toString('latin1').split('\r\n')
  assert.ok(lines.every(line => !/[\r\n]/.test(line) && line.length <= 998))
  const count = (header: 'to' | 'cc' | 'from') =>
    [parsed[header] ?? []].flat().flatMap(({ value }) => value.flatMap(one => one.group ?? one)).length
  return { parsed, keys: parsed.headerLines.map(({ key }) => key), counts: [count('from'), count('to'), count('cc')] }
}

/** What a reader sees of a text in a header. */
const flat = (text: string | undefined) =>
  Buffer.from(text ?? '')
    .toString()
    .replace(/[\p{Cc}\p{Z}\u00ad\ufffd]+/gu, ' ')
    .trim()

/** The other ways take each a third of the hostile values, so that three of them take all. */
const THOROUGH = new Set(['direct', 'triple', 'partial'])

for (const [where, position] of Object.entries(POSITIONS))
  t.test(`a value in ${where} adds and ends nothing`, async t => {
    const ways = position.attributes ? ATTRIBUTE_WAYS : WAYS
    let delivered = 0
    let refused = 0
    for (const [nth, [how, way]] of Object.entries(ways).entries()) {
      const source = pageFor(position, way)
      const usual = await send(source, position.harmless ?? 'x')
      if (usual instanceof Error) {
        if (position.harmless !== undefined) t.fail(`${how}: a harmless value is refused: ${usual.message}`)
      } else if (position.harmless === undefined && !where.includes('message id'))
        t.fail(`${how}: a value was accepted`)
      const wanted = usual instanceof Error ? undefined : await read(usual)
      for (const [i, value] of HOSTILE.entries()) {
        if (!THOROUGH.has(how) && (i + nth) % 3 > 0) continue

        const what = `${how}: ${JSON.stringify(value.slice(0, 80))}`
        const mail = await send(source, value)
        if (mail instanceof Error) {
          refused += 1
          if (!position.strict) t.fail(`${what} is refused: ${mail.message}`)
          continue
        }
        delivered += 1
        const { parsed, keys, counts } = await read(mail)
        assert.deepEqual(keys, wanted?.keys, what)
        assert.deepEqual(counts, wanted?.counts, what)
        assert.equal(mail.envelope.to.length, (usual as SentMail).envelope.to.length, what)
        if (!position.strict) assert.deepEqual(mail.envelope, (usual as SentMail).envelope, what)
        if (position.seen) assert.equal(flat(position.seen(parsed)), flat(value), what)
      }
    }
    t.ok(position.strict ? refused > 0 : delivered > 0, `${delivered} delivered, ${refused} refused`)
  })

t.test('the same pages show the attack where a value is an author list, so that the test could fail', async t => {
  const mail = await send(pageFor(POSITIONS.mailto!, { text: 'v' }), ['ann@example.org', EVIL])
  t.ok(!(mail instanceof Error) && mail.envelope.to.includes(EVIL), 'an array in mailto adds a recipient')
  const { keys } = await read({
    host: '',
    envelope: { from: '', to: [] },
    content: Buffer.from(`From: a@b.c\r\nSubject: x\r\nBcc: ${EVIL}\r\n\r\nbody`),
  })
  t.same(keys, ['from', 'subject', 'bcc'], 'the parser sees a header that was added')
})

t.test('random values in all places at once, by many ways, leave headers, recipients and body as written', async () => {
  const source = `<<#sendmail "XYZ" subject=(concat "S " v)>>
From: "Shop <<v>>" <shop@example.org>
To: {{{v}}} <ann@example.org>, Team <<v>>: bob@example.org;
Cc: "<<#each list>><<this>><</each>>" <cy@example.org> (<<v>>)
X-One: 1 <<> show>>
X-Two: 2 <<#with v>><<this>><</with>>

Body: <<v>>
<</sendmail>>`
  const keys = ['from', 'to', 'cc', 'x-one', 'x-two', 'subject', 'date', 'message-id', 'mime-version', 'content-type']
  await fc.assert(
    fc.asyncProperty(mixed('}}'), async value => {
      const mail = await send(source, value)
      assert.ok(!(mail instanceof Error), String(mail))
      const found = await read(mail)
      assert.deepEqual(found.keys, [...keys, 'content-transfer-encoding'])
      assert.deepEqual(mail.envelope, {
        from: 'shop@example.org',
        to: ['ann@example.org', 'bob@example.org', 'cy@example.org'],
      })
      assert.deepEqual(found.counts, [1, 2, 1])
    }),
    { numRuns: 2000 },
  )
})

t.test('a random value as an address is refused or one recipient', async () => {
  const soup = fc.string({
    unit: fc.constantFrom(
      'ann@example.org',
      EVIL,
      'a',
      '@b.c',
      ',',
      ';',
      ':',
      '<',
      '>',
      '(',
      ')',
      '"',
      '\\',
      ' ',
      '\n',
      '\r',
      'é',
      '[',
      ']',
    ),
    minLength: 1,
    maxLength: 12,
  })
  const pages = [pageFor(POSITIONS.mailto!, { text: 'v' }), pageFor(POSITIONS['an address']!, { text: '<<v>>' })]
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        soup,
        soup.map(text => `${text}ann@example.org`),
      ),
      fc.constantFrom(...pages),
      async (value, page) => {
        const mail = await send(page, value)
        if (mail instanceof Error) return
        accepted += 1
        const { counts } = await read(mail)
        assert.equal(counts[1], 1)
        assert.deepEqual(mail.envelope.to.length, page === pages[0] ? 1 : 2)
      },
    ),
    { numRuns: 3000 },
  )
  assert.ok(accepted > 20, `${accepted} accepted`)
})
