/** The sendmail block: where its mail goes, what it holds, and when none is sent. */
import t from 'tap'
import { compileTemplate } from '../../templates/index.ts'
import { mailTree, parsed, renderMail } from '../support/mail-page.ts'
import { checkWithTwoParsers } from '../support/python-mail.ts'

const block = (attributes: string, inside = 'From: a@b.c\nTo: d@e.f\n\nBody\n') =>
  `<<#sendmail ${attributes}>>\n${inside}<</sendmail>>`

/** Every message sent here, for the last test. */
const all: Buffer[] = []

/** The one mail that the page sends, as it is read. */
async function mailOf(source: string, data: Record<string, unknown> = {}, partials: Record<string, string> = {}) {
  const { page, sent } = await renderMail(source, data, partials)
  const [mail, ...more] = sent
  if (mail === undefined || more.length > 0) throw new Error(`the page sent ${sent.length} messages`)
  all.push(mail.content)
  return { page, ...mail, mail: await parsed(mail), wire: mail.content.toString() }
}

t.test('the block renders to nothing', async t => {
  t.equal((await mailOf(`<p>\n${block('mailhost="XYZ"')}\n</p>`)).page, '<p>\n</p>')
  t.equal((await mailOf(`<p>${block('mailhost="XYZ"')}</p>`)).page, '<p></p>')
  const data = { yes: true, list: ['x'], user: { name: 'U' } }
  t.equal((await mailOf(`a\n<<#if yes>>\n  ${block('"XYZ"')}\n<</if>>\nb\n`, data)).page, 'a\nb\n')
})

t.test('a mail host is found by name, nearest first, or by path', async t => {
  const cases: [string, string][] = [
    ['mailhost="XYZ"', 'shop/XYZ'],
    ['"XYZ"', 'shop/XYZ'],
    ["'other'", 'shop/other'],
    ['mailhost=host', 'shop/XYZ'],
    ['host', 'shop/XYZ'],
    ['(lookup this "host")', 'shop/XYZ'],
    ['mailhost="/XYZ"', '/XYZ'],
    ['mailhost="/shop/other"', 'shop/other'],
    ['mailhost="../other"', 'shop/other'],
    ['mailhost="../../XYZ"', '/XYZ'],
  ]
  for (const [attributes, host] of cases)
    t.equal((await mailOf(block(attributes), { host: 'XYZ' })).host, host, attributes)
})

t.test('what cannot be right is refused when the template is compiled, at its place', async t => {
  const cases: [string, string, RegExp][] = [
    ['<p>\n  <<#sendmail>>x<</sendmail>>', 'NO_MAIL_HOST', /^page\.hbs:2:3: .*found none/],
    ['<<#sendmail mailto="a@b.c">>x<</sendmail>>', 'NO_MAIL_HOST', /^page\.hbs:1:1: /],
    ['<<#sendmail mailhost="">>x<</sendmail>>', 'NO_MAIL_HOST', /^page\.hbs:1:22: expected the name/],
    ['<<#sendmail 7>>x<</sendmail>>', 'NO_MAIL_HOST', /^page\.hbs:1:13: expected the name/],
    ['<<#sendmail mailhost=null>>x<</sendmail>>', 'NO_MAIL_HOST', /^page\.hbs:1:22: /],
    ['<<#sendmail "a" "b">>x<</sendmail>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:1: expected one mail host.*found 2/],
    ['<<#sendmail "a" mailhost="b">>x<</sendmail>>', 'TEMPLATE_SYNTAX', /found 2/],
    [
      '<<#sendmail "a" mialto=x>>x<</sendmail>>',
      'TEMPLATE_SYNTAX',
      /^page\.hbs:1:17: sendmail has no attribute 'mialto'/,
    ],
    ['<<#sendmail "a" subject=x subject="y">>x<</sendmail>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:27: .*'subject' twice/],
    ['<<#sendmail "a"\n encode="uu">>x<</sendmail>>', 'TEMPLATE_SYNTAX', /^page\.hbs:2:2: encode: expected base64/],
    ['<<#sendmail "a">>x<<else>>y<</sendmail>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:1: sendmail has no else/],
    ['<<^sendmail "a">>x<</sendmail>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:1: sendmail has no else/],
    [
      '<<#if x>><<#sendmail "a">><<#sendmail "b">>x<</sendmail>><</sendmail>><</if>>',
      'TEMPLATE_SYNTAX',
      /^page\.hbs:1:27: /,
    ],
    ['<<sendmail "a">>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:1: sendmail is a block/],
    ['<<#if (sendmail "a")>>x<</if>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:7: sendmail is a block/],
  ]
  for (const [source, code, message] of cases)
    t.throws(() => compileTemplate(source, { name: 'page.hbs' }), { code, message }, source)
})

t.test('what is found is no mail host: the error says what it is', async t => {
  const cases: [string, unknown, RegExp][] = [
    ['mailhost="nowhere"', undefined, /^page\.hbs:1:1: no mail host: no object named 'nowhere' in \/shop\/pages/],
    ['mailhost="/shop/nowhere"', undefined, /\/shop has no object 'nowhere'/],
    ['mailhost="/XYZ/x"', undefined, /\/XYZ is not a container/],
    ['mailhost="shop"', undefined, /expected a mail host at 'shop', found a Place \(\/shop\)/],
    ['mailhost="/"', undefined, /found a Place \(\/\)/],
    ['mailhost=host', 7, /expected the name or path of a mail host, found number/],
    ['mailhost=host', undefined, /found undefined/],
    ['mailhost=host', null, /found null/],
    ['mailhost=host', '', /an empty text/],
    ['mailhost=host', { isMailHost: true, send() {} }, /found object/],
    ['mailhost=host', 'two\nlines', /no object named 'two lines'/],
  ]
  for (const [attributes, host, message] of cases)
    await t.rejects(renderMail(block(attributes), { host }), { code: 'NO_MAIL_HOST', message }, attributes)
  await t.rejects(compileTemplate(block('"XYZ"')).render({}), { code: 'NO_MAIL_HOST', message: /option 'context'/ })
})

t.test('mailto: a text of the author is a list, a value is one address, an array several', async t => {
  const to = async (attribute: string, data: Record<string, unknown> = {}) =>
    (await mailOf(block(`"XYZ" mailto=${attribute}`, 'From: a@b.c\nTo: old@e.f\nBcc: hidden@e.f\n\n.'), data)).envelope
      .to
  t.same(await to('"x@y.z, Team: D <d@e.f>, g@h.i;"'), ['x@y.z', 'd@e.f', 'g@h.i'])
  t.same(await to('email', { email: 'Ann <x@y.z>' }), ['x@y.z'])
  t.same(await to('emails', { emails: ['x@y.z', 'D <d@e.f>', ''] }), ['x@y.z', 'd@e.f'])
  t.same(await to('(concat user "@y.z")', { user: 'ann' }), ['ann@y.z'])
  t.same(await to('email', { email: Promise.resolve('x@y.z') }), ['x@y.z'])
  for (const email of ['x@y.z, d@e.f', 'G: x@y.z, d@e.f;', ['x@y.z, d@e.f'], 'nonsense'])
    await t.rejects(to('email', { email }), { code: 'MAIL_REFUSED', cause: { code: 'BAD_ADDRESS' } }, String(email))
  for (const email of [undefined, null, '', []])
    await t.rejects(to('email', { email }), { code: 'MAIL_REFUSED', message: /^page\.hbs:1:1: .*no recipient/ })
  await t.rejects(to('email', { email: { a: 1 } }), { code: 'TEMPLATE_RENDER', message: /mailto: expected text/ })
})

t.test('mailfrom and subject replace their headers', async t => {
  const { envelope, mail } = await mailOf(
    block('"XYZ" mailfrom=from subject=subject', 'From: a@b.c\nTo: d@e.f\nSubject: old\n\n.'),
    { from: 'Zoë <new@b.c>', subject: 'Grüße & <Küsse>' },
  )
  t.equal(envelope.from, 'new@b.c')
  t.same(mail.from?.value, [{ name: 'Zoë', address: 'new@b.c' }])
  t.equal(mail.subject, 'Grüße & <Küsse>')
})

t.test('the block may have headers, or a body only', async t => {
  const headed = await mailOf(
    block(
      '"XYZ"',
      'From: "<<shop.name>>" <{{shop.name}}@b.c>\nTo: "<<name>>" <d@e.f>,\n  <<list>>\nCc: < {{email}} >\nSubject: For <<name>>:\n <<#if name>>hello<</if>>\nX-Number: <<n>>\n\nTo: is text here\n',
    ),
    {
      shop: { name: 'shop' },
      name: 'Ann, & Bob',
      list: ['g@h.i', { name: 'J', address: 'j@k.l' }],
      email: 'm@n.o',
      n: 7,
    },
  )
  t.same(headed.envelope, { from: 'shop@b.c', to: ['d@e.f', 'g@h.i', 'j@k.l', 'm@n.o'] })
  t.equal(headed.mail.subject, 'For Ann, & Bob: hello')
  t.equal(headed.mail.headers.get('x-number'), '7')
  t.equal(headed.mail.text, 'To: is text here\n')
  const plain = await mailOf(
    block('"XYZ" mailto="d@e.f" mailfrom="a@b.c" subject="S"', 'Dear <<name>>,\nNote: this\n'),
    {
      name: 'A: B',
    },
  )
  t.equal(plain.mail.text, 'Dear A: B,\nNote: this\n')
  t.equal(plain.mail.subject, 'S')
  const blank = await mailOf(block('"XYZ" mailto="d@e.f" mailfrom="a@b.c"', '\nX-Not: a header\n'))
  t.equal(blank.mail.text, 'X-Not: a header\n')
})

t.test('a block that is indented as a whole is read without its indentation', async t => {
  const inside = '    From: a@b.c\n    To: d@e.f\n    Subject: S\n     folded\n\n    Dear,\n      indented\n'
  const { mail } = await mailOf(`<<#if yes>>\n  <<#sendmail "XYZ">>\n${inside}  <</sendmail>>\n<</if>>`, { yes: true })
  t.equal(mail.subject, 'S folded')
  t.equal(mail.text, 'Dear,\n  indented\n')
})

t.test('values are escaped in a body of HTML only', async t => {
  const data = { name: '<b>&"', html: '<i>x</i>' }
  const text = '<<name>> <<<html>>> <<#if name>>{{name}}<</if>>'
  const plain = await mailOf(block('"XYZ"', `From: a@b.c\nTo: d@e.f\n\n${text}`), data)
  t.equal(plain.mail.text?.trim(), '<b>&" <i>x</i> <b>&"')
  for (const type of ['text/html', 'Text/HTML; charset=utf-8', 'application/xhtml+xml']) {
    const { wire } = await mailOf(block('"XYZ"', `From: a@b.c\nTo: d@e.f\nContent-Type: ${type}\n\n${text}`), data)
    t.ok(wire.endsWith('\r\n\r\n&lt;b&gt;&amp;&quot; <i>x</i> &lt;b&gt;&amp;&quot;\r\n'), type)
  }
})

t.test('a multipart body takes no values', async t => {
  const head = 'From: a@b.c\nTo: d@e.f\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\n'
  t.match((await mailOf(block('"XYZ"', `${head}static\n--b--\n`))).mail.text, /static/)
  await t.rejects(renderMail(block('"XYZ"', `${head}<<name>>\n--b--\n`), { name: '\r\n--b\r\n' }), {
    code: 'TEMPLATE_RENDER',
    message: /^page\.hbs:8:1: sendmail: a value in a multipart body/,
  })
})

t.test('the encoding can be asked for', async t => {
  const { wire } = await mailOf(block('"XYZ" encode="base64"'))
  t.match(wire, /Content-Transfer-Encoding: base64\r\n/)
  await t.rejects(renderMail(block('"XYZ" encode=how'), { how: 'uu' }), { message: /encode: expected base64.*"uu"/ })
})

t.test('blocks stand inside #if, #each, #with and partials, and are sent in order', async t => {
  const one = block('"XYZ" subject=(concat "to " name)', 'From: a@b.c\nTo: <<email>>\n\nDear <<name>>\n')
  const people = ['ann', 'bob', 'cy'].map(name => ({ name, email: `${name}@b.c` }))
  const subjects = async (source: string, partials: Record<string, string> = {}) => {
    const { sent } = await renderMail(source, { people, yes: true, no: false }, partials)
    return Promise.all(sent.map(async mail => (await parsed(mail)).subject))
  }
  const all = ['to ann', 'to bob', 'to cy']
  t.same(await subjects(`<<#each people>>\n${one}\n<</each>>`), all)
  t.same(await subjects(`<<#each people>><<> letter>><</each>>`, { letter: one }), all)
  t.same(await subjects(`<<#*inline "letter">>${one}<</inline>><<#each people>><<> letter>><</each>>`), all)
  t.same(
    await subjects(`<<#each people>><<#> around>>${one}<</around>><</each>>`, { around: '<<> @partial-block>>' }),
    all,
  )
  t.same(await subjects(`<<#with people.[1]>>${one}<</with>>`), ['to bob'])
  t.same(await subjects(`<<#if no>><<#with people.[0]>>${one}<</with>><</if>>`), [])
  t.same(await subjects(`<<#with people.[0]>>${one}<</with>><<#with people.[2]>>${one}<</with>>`), ['to ann', 'to cy'])
})

t.test('headers and body may come from partials', async t => {
  const { mail, envelope } = await mailOf(
    block('"XYZ"', '<<> head>>\nSubject: <<> words>>\n\n<<#each lines>>\n  <<> line>>\n<</each>>\n'),
    { lines: ['a', 'b'] },
    { head: 'From: a@b.c\nTo: d@e.f\n', words: 'one two', line: '- <<this>>\n' },
  )
  t.same(envelope.to, ['d@e.f'])
  t.equal(mail.subject, 'one two')
  t.equal(mail.text, '  - a\n  - b\n')
})

t.test('an error anywhere in the page sends nothing', async t => {
  const { sent, context } = mailTree()
  const late = Promise.reject(new Error('late'))
  late.catch(() => {})
  const faults = [
    '<<user>>',
    '<<> missing>>',
    '<<late>>',
    block('"nowhere"'),
    block('"XYZ" mailto=user'),
    block('"XYZ"', 'nonsense: x\nnonsense\n\nx'),
    block('"XYZ"', 'From: a@b.c\nTo: d@e.f\n\n<<user>>'),
  ]
  for (const fault of faults)
    await t.rejects(
      compileTemplate(`${block('"XYZ"')}${fault}`).render({ user: { name: 'U' }, late }, { context }),
      { name: 'TemplateError' },
      fault,
    )
  t.same(sent, [])
})

t.test('a message that is refused is reported at its block', async t => {
  const cases: [string, RegExp][] = [
    ['To: d@e.f\n\n.', /^page\.hbs:2:1: sendmail: the message has no sender/],
    ['From: a@b.c\n\n.', /no recipient/],
    ['From: a@b.c\nTo: nobody\n\n.', /To: expected an address with an '@' at the end of "nobody"/],
    ['From: a@b.c\nTo: d@e.f\nTo: g@h.i\n\n.', /two To headers/],
    ['From: a@b.c\nTo: "Ann" <<email>>\n\n.', /To: expected '@', or < and > around the value/],
  ]
  for (const [inside, message] of cases)
    await t.rejects(
      renderMail(`\n${block('"XYZ"', inside)}`, { email: 'x@y.z' }),
      { code: 'MAIL_REFUSED', message },
      inside,
    )
  await t.rejects(renderMail(block('"XYZ"', 'From: a@b.c\nnonsense\n\n.')), {
    code: 'TEMPLATE_RENDER',
    message: /expected a header \("Name: value"\) or the blank line before the body, found "nonsense"/,
  })
})

t.test('two parsers agree about every message, and find no defect', async t => {
  t.ok(all.length > 20, `${all.length} messages`)
  await checkWithTwoParsers(all)
})
