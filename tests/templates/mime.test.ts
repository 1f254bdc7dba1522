/** The mime and part blocks: messages of several parts, as two independent parsers read them. */
import assert from 'node:assert/strict'
import type { ParsedMail } from 'mailparser'
import t from 'tap'
import { compileTemplate } from '../../templates/index.ts'
import { mailTree, parsed, renderMail } from '../support/mail-page.ts'
import { fc } from '../support/properties.ts'
import { type PythonMail, readWithPython } from '../support/python-mail.ts'

const HEADERS = 'From: shop@example.org\nTo: ann@example.org\nSubject: Your order\n\n'

const mailWith = (body: string) => `<<#sendmail "XYZ">>\n${HEADERS}${body}\n<</sendmail>>`

async function read(
  body: string,
  data: Record<string, unknown> = {},
  partials: Record<string, string> = {},
): Promise<{ mail: ParsedMail; python: PythonMail; wire: string }> {
  const { sent } = await renderMail(mailWith(body), data, partials)
  const [mail, ...more] = sent
  if (mail === undefined || more.length > 0) throw new Error(`the page sent ${sent.length} messages`)
  const [python] = readWithPython([mail.content])
  return { mail: await parsed(mail), python: python!, wire: mail.content.toString() }
}

/** The types of the parts, as `mixed(alternative(plain, html), pdf)`. */
function shape({ type, parts }: PythonMail): string {
  const name = type.split('/')[1]!
  return parts.length === 0 ? name : `${name}(${parts.map(shape).join(', ')})`
}

t.test('parts in parts, each of its type, in the order in which they are written', async t => {
  const { mail, python } = await read(
    `<<#mime>>
  <<#mime type="alternative">>
    <<#part>>
      Dear <<name>>,
        here it is.
    <</part>>
    <<#part type="text/html">>
      <p>Dear <b><<name>></b></p>
    <</part>>
  <</mime>>
  <<attach pdf filename="invoice.pdf">>
  <<attach terms filename="terms.txt" description="Our terms – all">>
<</mime>>`,
    { name: 'Zoë & <Ann>', pdf: Buffer.from('%PDF-1.7'), terms: 'Grüße\n' },
  )
  t.same(python.defects, [])
  t.equal(shape(python), 'mixed(alternative(plain, html), pdf, plain)')
  t.equal(mail.text, 'Dear Zoë & <Ann>,\n  here it is.\n')
  t.equal(mail.html, '<p>Dear <b>Zoë &amp; &lt;Ann&gt;</b></p>\n')
  t.equal(python.parts[0]?.parts[0]?.text, mail.text)
  t.equal(python.parts[0]?.parts[1]?.text, mail.html)
  const [pdf, terms] = python.parts.slice(1)
  t.match(pdf, { type: 'application/pdf', filename: 'invoice.pdf', disposition: 'attachment' })
  t.equal(pdf?.data, Buffer.from('%PDF-1.7').toString('base64'))
  t.match(terms, { type: 'text/plain', filename: 'terms.txt', disposition: 'attachment', text: 'Grüße\n' })
  t.match(terms?.headers, [
    ['Content-Type'],
    ['Content-Transfer-Encoding'],
    ['Content-Disposition'],
    ['Content-Description', 'Our terms – all'],
  ])
  t.same(
    mail.attachments.map(({ filename, contentType, content }) => [filename, contentType, content.toString()]),
    [
      ['invoice.pdf', 'application/pdf', '%PDF-1.7'],
      ['terms.txt', 'text/plain', 'Grüße\n'],
    ],
  )
})

t.test('HTML is given a plain text, unless one is there or it is told otherwise', async t => {
  const html = (attributes = '') =>
    `<<#part type="text/html"${attributes}>><p>Hi <a href="https://x.y/">there</a></p><</part>>`
  const plain = '<<#part>>Hi<</part>>'
  const image = '<<attach "png" type="image/png" cid="logo" disposition="inline">>'
  const cases: [string, string][] = [
    [`<<#mime>>${html()}<</mime>>`, 'mixed(alternative(plain, html))'],
    [`<<#mime type="alternative">>${html()}<</mime>>`, 'alternative(plain, html)'],
    [`<<#mime type="alternative">>${plain}${html()}<</mime>>`, 'alternative(plain, html)'],
    [`<<#mime type="related">>${html()}${image}<</mime>>`, 'alternative(plain, related(html, png))'],
    [
      `<<#mime>><<#mime type="related">>${html()}${image}<</mime>>${image}<</mime>>`,
      'mixed(alternative(plain, related(html, png)), png)',
    ],
    [
      `<<#mime type="alternative">>${plain}<<#mime type="related">>${html()}${image}<</mime>><</mime>>`,
      'alternative(plain, related(html, png))',
    ],
    [
      `<<#mime type="alternative">><<#mime type="related">>${html()}${image}<</mime>><</mime>>`,
      'alternative(plain, related(html, png))',
    ],
    [`<<#mime>>${html(' alternative=false')}<</mime>>`, 'mixed(html)'],
    [`<<#mime>>${html(' disposition="attachment"')}<</mime>>`, 'mixed(html)'],
    [`<<#mime>>${html(' filename="page.html"')}<</mime>>`, 'mixed(html)'],
  ]
  for (const [body, expected] of cases) {
    const { python } = await read(body)
    t.equal(shape(python), expected, body)
    t.same(python.defects, [])
  }
  const { mail } = await read(`<<#mime>>${html()}<</mime>>`)
  t.equal(mail.text?.trim(), 'Hi there <https://x.y/>')
})

t.test('an inline image is what cid: in the HTML names', async t => {
  const { mail, python } = await read(
    `<<#mime type="related">>
  <<#part type="text/html">><img src="cid:logo@shop" alt="logo"><</part>>
  <<attach logo type="image/png" filename="lögo.png" disposition="inline" cid="logo@shop">>
<</mime>>`,
    { logo: new Uint8Array([0x89, 0x50]) },
  )
  t.equal(mail.html, '<img src="data:image/png;base64,iVA=" alt="logo">\n')
  t.match(python.parts[1]?.parts[1], { type: 'image/png', cid: '<logo@shop>', filename: 'lögo.png', data: 'iVA=' })
})

t.test('parts may come from #if, #each and partials', async t => {
  const { python } = await read(
    `<<#mime>>
  <<#if greet>><<> greeting>><<else>><<#part>>none<</part>><</if>>
  <<#each files as |file|>>
    <<attach file.content filename=file.name>>
  <</each>>
  <<#if no>><<attach missing>><</if>>
<</mime>>`,
    {
      greet: true,
      files: [
        { name: 'a.txt', content: 'A' },
        { name: 'b.bin', content: Promise.resolve(Buffer.of(0)) },
      ],
    },
    { greeting: '<<#part>>\nHello\n<</part>>\n' },
  )
  t.equal(shape(python), 'mixed(plain, plain, octet-stream)')
  t.same(
    python.parts.map(({ text, data, filename }) => [text ?? data, filename]),
    [
      ['Hello\n', null],
      ['A', 'a.txt'],
      ['AA==', 'b.bin'],
    ],
  )
})

t.test('charset and encode are those of the part', async t => {
  const { python, wire } = await read(
    `<<#mime>>
  <<#part charset="iso-8859-1" encode="quoted-printable">>Grüße <<name>><</part>>
  <<#part encode="base64" type="text/csv" filename="x.csv">>a;b<</part>>
<</mime>>`,
    { name: 'Zoë' },
  )
  t.same(python.defects, [])
  t.same(
    python.parts.map(({ text }) => text),
    ['Grüße Zoë\n', 'a;b\n'],
  )
  t.match(wire, /charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe Zo=EB/)
  await t.rejects(read('<<#mime>><<#part charset="iso-8859-1">><<x>><</part>><</mime>>', { x: '€' }), {
    code: 'MAIL_REFUSED',
    message: /iso-8859-1 has no '€'/,
  })
})

t.test('charset and encode are those of an attachment of text; other data are sent as base64', async t => {
  const { python, wire } = await read(
    `<<#mime>>
  <<attach text filename="a.csv" charset="windows-1252" encode="quoted-printable">>
  <<attach bytes filename="b.csv" charset="windows-1252">>
  <<attach text filename="c.txt" charset="utf-8" encode="8bit" cid="c" description="Größe">>
<</mime>>`,
    { text: 'Größe;5 €', bytes: Buffer.from([0x35, 0x20, 0x80]) },
  )
  t.same(python.defects, [])
  t.match(python.parts, [
    { type: 'text/csv', filename: 'a.csv', disposition: 'attachment', text: 'Größe;5 €\n' },
    { type: 'text/csv', filename: 'b.csv', disposition: 'attachment', text: '5 €\n' },
    { type: 'text/plain', filename: 'c.txt', disposition: 'attachment', cid: '<c>', text: 'Größe;5 €\n' },
  ])
  t.match(wire, /charset=windows-1252\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=F6=DFe;5 =80/)
  const refused: [string, string][] = [
    ['charset="utf-8"', 'a.png'],
    ['encode="8bit"', 'a.png'],
    ['charset="no-such"', 'a.txt'],
    ['charset="koi8-r"', 'a.txt'],
  ]
  for (const [attributes, name] of refused)
    await t.rejects(
      read(`<<#mime>><<attach text filename="${name}" ${attributes}>><</mime>>`, { text: '€' }),
      { code: 'MAIL_REFUSED', cause: { code: 'BAD_ENCODING' } },
      attributes,
    )
})

t.test('a message in a message is not encoded, so that it can be read', async t => {
  const inner = 'From: a@b.c\r\nSubject: Grüße\r\n\r\nInner\r\n'
  const { python } = await read(
    '<<#mime>><<#part>>x<</part>><<attach m type="message/rfc822" filename="m.eml">><</mime>>',
    {
      m: inner,
    },
  )
  t.equal(shape(python), 'mixed(plain, rfc822(plain))')
  t.equal(python.parts[1]?.parts[0]?.text, 'Inner\n')
})

t.test('a file is found in the tree, by name or path, before any mail is sent', async t => {
  const { sent, context, root } = mailTree()
  const page = (name: string) =>
    compileTemplate(
      `<<#sendmail "XYZ">>\n${HEADERS}x\n<</sendmail>><<#sendmail "XYZ">>\n${HEADERS}<<#mime>><<attach file=${name}>><</mime>>\n<</sendmail>>`,
      { name: 'page.hbs' },
    )
  root.add('logo', {})
  const cases: [string, RegExp][] = [
    ['"nowhere"', /^page\.hbs:12:10: no file: no object named 'nowhere'/],
    ['"/shop/nowhere"', /\/shop has no object 'nowhere'/],
    ['""', /expected the name or path of a file, found an empty text/],
    ['missing', /found undefined/],
  ]
  for (const [name, message] of cases)
    await t.rejects(page(name).render({}, { context }), { code: 'NO_FILE', message }, name)
  await t.rejects(page('"logo"').render({}), { code: /NO_MAIL_HOST|NO_FILE/ })
  t.equal(sent.length, 0)
  await t.rejects(page('"logo"').render({}, { context }), {
    code: 'MAIL_REFUSED',
    message: /an attachment: expected text, bytes, or a File or Blob of the tree, found object/,
  })
})

t.test('what cannot be right is refused when the template is compiled, at its place', async t => {
  const cases: [string, RegExp][] = [
    ['<<#mime type="mxed">>x<</mime>>', /^page\.hbs:1:9: type: expected mixed, alternative, related, found 'mxed'/],
    ['<<#mime boundary="x">>x<</mime>>', /mime has no attribute 'boundary'; expected type/],
    ['<<#mime "mixed">>x<</mime>>', /mime takes attributes only/],
    ['<<#mime>>x<<else>>y<</mime>>', /mime has no else/],
    ['<<#part tpye="x">>x<</part>>', /^page\.hbs:1:9: part has no attribute 'tpye'/],
    ['<<#part type="a/b" type="c/d">>x<</part>>', /part has the attribute 'type' twice/],
    ['<<#part encode="uu">>x<</part>>', /encode: expected base64/],
    ['<<#part disposition="shown">>x<</part>>', /disposition: expected inline, attachment/],
    ['<<#part alternative="no">>x<</part>>', /alternative: expected true, false/],
    ['<<attach filename="x">>', /^page\.hbs:1:1: attach: expected one thing to attach, .* found none/],
    ['<<attach a b>>', /attach: expected one thing to attach, .* found 2/],
    ['<<attach a file="b">>', /found 2/],
    ['<<attach a alternative=true>>', /attach has no attribute 'alternative'/],
    ['<<mime type="mixed">>', /mime is a block/],
    ['<<#if (attach x)>>y<</if>>', /attach stands alone/],
  ]
  for (const [source, message] of cases)
    t.throws(() => compileTemplate(source, { name: 'page.hbs' }), { code: 'TEMPLATE_SYNTAX', message }, source)
})

t.test('what stands in the wrong place is refused, and nothing is sent', async t => {
  const cases: [string, RegExp][] = [
    ['<<#mime>>text<</mime>>', /mime: only part, attach and mime may stand in it, found "text"/],
    ['<<#mime>><<#part>>x<</part>> <<name>><</mime>>', /found a value/],
    ['<<#mime>><</mime>>', /mime: it holds no part/],
    ['<<#part>>x<</part>>', /part can stand in a mime block, found in a sendmail block/],
    ['<<attach name>>', /attach can stand in a mime block/],
    [
      '<<#mime>><<#part>><<#mime>><<#part>>x<</part>><</mime>><</part>><</mime>>',
      /mime can stand in .*, found in a part block/,
    ],
    ['before <<#mime>><<#part>>x<</part>><</mime>>', /a mime block is the whole body/],
    ['<<#mime>><<#part>>x<</part>><</mime>>\n<<name>>', /a mime block is the whole body/],
    ['<<#mime>><<#part>>x<</part>><</mime>><<#mime>><<#part>>x<</part>><</mime>>', /a mime block is the whole body/],
    ['<<#mime type=name>><<#part>>x<</part>><</mime>>', /type: expected mixed, alternative, related, found "Ann"/],
    ['<<#mime>><<#part type="multipart/mixed">>x<</part>><</mime>>', /type of a part: expected a media type/],
    ['<<#mime>><<#part type="image/png">>x<</part>><</mime>>', /a part of text cannot be of type/],
    ['<<#mime>><<#part type=bad>>x<</part>><</mime>>', /type of a part: expected a media type/],
    ['<<#mime>><<attach name cid=bad>><</mime>>', /cid of a part: expected a word/],
    [
      '<<#mime>><<attach missing filename="x.pdf">><</mime>>',
      /the attachment "x\.pdf": expected text, bytes.*found undefined/,
    ],
    ['<<#mime>><<attach list>><</mime>>', /found a list/],
  ]
  for (const [body, message] of cases)
    await t.rejects(read(body, { name: 'Ann', bad: 'text/x\r\nX: y <>', list: [1] }), { message }, body)
  const page = '<<#mime>><<#part>>x<</part>><</mime>>'
  await t.rejects(renderMail(page), {
    code: 'TEMPLATE_RENDER',
    message: /^page\.hbs:1:1: mime can stand in .* found in the page/,
  })
  const typed = `<<#sendmail "XYZ">>\nFrom: a@b.c\nTo: a@b.c\nContent-Type: text/plain\n\n${page}\n<</sendmail>>`
  await t.rejects(renderMail(typed), { code: 'MAIL_REFUSED', message: /Content-Type: the parts of the message say/ })
  const encoded = `<<#sendmail "XYZ" encode="base64">>\n${HEADERS}${page}\n<</sendmail>>`
  await t.rejects(renderMail(encoded), { code: 'MAIL_REFUSED', message: /encode are those of a message of one text/ })
})

t.test('no value in a part or its attributes adds a header, a part or a recipient', async t => {
  const source = mailWith(`<<#mime>>
<<#part description=v filename=v>>
<<v>>
<</part>>
<<#part type="text/html" alternative=false>><p title="<<v>>"><<v>></p><</part>>
<<attach v filename=v description=v>>
<</mime>>`)
  const hostile = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc
      .array(
        fc.constantFrom(
          '\r\n',
          '\n',
          '\r',
          '--',
          '--_NmP',
          '\r\n\r\n',
          'Bcc: x@y.z',
          'Content-Type: text/html',
          '"',
          '\\',
          '; name=x',
          "''",
          '=?utf-8?q?x?=',
          '<script>',
          '%0d%0a',
          '\u2028',
          '\0',
          'é',
        ),
        { maxLength: 12 },
      )
      .map(words => words.join('')),
  )
  const values = fc.sample(hostile, 2_000)
  const messages: Buffer[] = []
  for (const v of values) {
    const { sent } = await renderMail(source, { v })
    const [mail, ...more] = sent
    assert.deepEqual(
      [mail?.envelope, more],
      [{ from: 'shop@example.org', to: ['ann@example.org'] }, []],
      JSON.stringify(v),
    )
    messages.push(mail!.content)
  }
  t.equal(messages.length, values.length)
  const own = ['Content-Type', 'Date', 'From', 'MIME-Version', 'Message-ID', 'Subject', 'To']
  const ofParts = ['content-description', 'content-disposition', 'content-transfer-encoding', 'content-type']
  const names = ({ headers }: PythonMail) => headers.map(([name]) => name).sort()
  const asText = (text: string | undefined) => text?.replace(/\r\n?/g, '\n').replace(/\n*$/, '')
  for (const [i, mail] of readWithPython(messages).entries()) {
    const v = values[i]!
    assert.equal(mail.type, 'multipart/mixed', JSON.stringify(v))
    assert.deepEqual(names(mail), own, JSON.stringify(v))
    assert.equal(mail.parts.length, 3, JSON.stringify(v))
    for (const part of mail.parts)
      for (const name of names(part)) assert.ok(ofParts.includes(name.toLowerCase()), `${name}: ${JSON.stringify(v)}`)
    const [plain, html, attached] = mail.parts
    const written = Buffer.from(v).toString()
    assert.equal(asText(plain?.text), asText(written), JSON.stringify(v))
    assert.doesNotMatch(html?.text ?? '', /<script>/)
    if (attached?.data !== undefined)
      assert.equal(Buffer.from(attached.data, 'base64').toString(), written, JSON.stringify(v))
  }
})
