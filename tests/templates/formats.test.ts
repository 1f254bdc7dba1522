/** The helpers that write values for people. */
import t from 'tap'
import { compileTemplate } from '../../templates/index.ts'
import { Place } from '../support/mail-page.ts'

const render = (source: string, data: Record<string, unknown> = {}, options = {}) =>
  compileTemplate(source, { name: 'page.hbs', contentType: 'text/plain' }).render(data, options)

/** Intl uses several kinds of blanks. */
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, ' ')

t.test('dates', async t => {
  const data = {
    d: new Date('2026-11-24T22:30:00Z'),
    iso: '2026-11-24T22:30:00Z',
    day: '2026-11-24',
    n: 0,
    p: Promise.resolve(0),
  }
  const cases: [string, string][] = [
    ['<<formatDate d>>', 'Nov 24, 2026'],
    ['<<formatDate iso dateStyle="long">>', 'November 24, 2026'],
    ['<<formatDate d dateStyle="long" locale="de" timeZone="Europe/Berlin">>', '24. November 2026'],
    ['<<formatDate d dateStyle="short" timeZone="Asia/Tokyo" locale="en-GB">>', '25/11/2026'],
    ['<<formatDate d timeStyle="short">>', '10:30 PM'],
    ['<<formatDate day dateStyle="short" timeStyle="short">>', '11/24/26, 12:00 AM'],
    ['<<formatDate n>>', 'Jan 1, 1970'],
    ['<<formatDate p>>', 'Jan 1, 1970'],
    ['<<formatDate gone>>', ''],
    ['<<#with (formatDate d) as |x|>>[<<x>>]<</with>>', '[Nov 24, 2026]'],
  ]
  for (const [source, expected] of cases) t.equal(plain(await render(source, data)), expected, source)
  t.equal(plain(await render('<<formatDate d>>', data, { locale: 'de', timeZone: 'Asia/Tokyo' })), '25.11.2026')
})

t.test('numbers', async t => {
  const data = { n: 1234.5, part: 0.256, big: 12345678901234567890n, text: '7.25' }
  const cases: [string, string][] = [
    ['<<formatNumber n>>', '1,234.5'],
    ['<<formatNumber n currency="EUR" locale="de">>', '1.234,50 €'],
    ['<<formatNumber n minimumFractionDigits=3>>', '1,234.500'],
    ['<<formatNumber part style="percent" maximumFractionDigits=1>>', '25.6%'],
    ['<<formatNumber big>>', '12,345,678,901,234,567,890'],
    ['<<formatNumber text>>', '7.25'],
    ['<<formatNumber gone>>', ''],
  ]
  for (const [source, expected] of cases) t.equal(plain(await render(source, data)), expected, source)
})

t.test('lists, and words that agree with a count', async t => {
  const data = { names: ['Ann', 'Bob', Promise.resolve('Cy')], none: [], count: 1, many: 5, zero: 0 }
  const cases: [string, string][] = [
    ['<<formatList names>>', 'Ann, Bob, and Cy'],
    ['<<formatList names type="disjunction" locale="de">>', 'Ann, Bob oder Cy'],
    ['<<formatList none>>', ''],
    ['<<count>> <<pluralize count one="item" other="items">>', '1 item'],
    ['<<many>> <<pluralize many one="item" other="items">>', '5 items'],
    ['<<pluralize zero zero="nothing" one="item" other="items">>', 'nothing'],
    ['<<pluralize zero one="item" other="items">>', 'items'],
    ['<<pluralize many one="zpráva" few="zprávy" other="zpráv" locale="cs">>', 'zpráv'],
    ['<<pluralize 3 one="zpráva" few="zprávy" other="zpráv" locale="cs">>', 'zprávy'],
  ]
  for (const [source, expected] of cases) t.equal(await render(source, data), expected, source)
})

t.test('absolute addresses, which never lead away from their base', async t => {
  const root = new Place()
  const order = root.add('shop', new Place()).add('order ä', new Place())
  const baseUrl = 'https://shop.example/tea'
  const data = { order, path: '/orders/7?x=1', up: '../../../x', hostile: 'javascript:alert(1)' }
  const cases: [string, string][] = [
    ['<<absoluteUrl "/orders/7">>', 'https://shop.example/tea/orders/7'],
    ['<<absoluteUrl path>>', 'https://shop.example/tea/orders/7?x=1'],
    ['<<absoluteUrl order>>', 'https://shop.example/tea/shop/order%20%C3%A4'],
    ['<<absoluteUrl path base="http://other.example">>', 'http://other.example/orders/7?x=1'],
    ['<<absoluteUrl up>>', 'https://shop.example/x'],
    ['<<absoluteUrl "//evil.example/">>', 'https://shop.example/evil.example/'],
  ]
  for (const [source, expected] of cases) t.equal(await render(source, data, { baseUrl }), expected, source)
  for (const path of [
    'javascript:alert(1)',
    'https://evil.example/',
    '///evil.example/',
    '/\\\\evil.example',
    'https:evil.example/..//x@y',
  ])
    await render('<<absoluteUrl path>>', { path }, { baseUrl }).then(
      url => t.ok(url.startsWith('https://shop.example/'), `${path} became ${url}`),
      error => t.match(error, { code: 'TEMPLATE_RENDER', message: /expected a path below/ }),
    )
})

t.test('what cannot be written is refused at its place', async t => {
  const cases: [string, RegExp][] = [
    ['<<formatDate x>>', /^page\.hbs:1:1: formatDate: expected a date, .*found "next week"/],
    ['<<formatDate o>>', /found an object/],
    ['<<formatDate 0 timeZone="Mars">>', /formatDate: .*Mars/],
    ['<<formatDate 0 dateStyle="wide">>', /formatDate: .*wide/],
    ['<<formatDate 0 locale="not a locale">>', /formatDate: /],
    ['<<formatNumber x>>', /formatNumber: expected a number, found "next week"/],
    ['<<formatNumber 1 currency="€">>', /formatNumber: /],
    ['<<formatNumber 1 maximumFractionDigits=1000>>', /formatNumber: /],
    ['<<formatList x>>', /expected a list, found "next week"/],
    ['<<formatList l>>', /expected a list of texts, found an object/],
    ['<<pluralize x other="y">>', /expected a number/],
    ['<<pluralize 2 one="y">>', /expected the word for "other"/],
    ['<<absoluteUrl "/x">>', /expected base="https:.*found undefined/],
    ['<<absoluteUrl "/x" base="ftp://x">>', /found "ftp:/],
    ['<<absoluteUrl o base="https://x.y">>', /expected a path or an object of the tree/],
    ['<<formatDate>>', /expected 1 argument/],
  ]
  for (const [source, message] of cases)
    await t.rejects(render(source, { x: 'next week', o: {}, l: [{}] }), { code: 'TEMPLATE_RENDER', message }, source)
  t.throws(() => compileTemplate('<<formatDate d calendar="x">>'), {
    code: 'TEMPLATE_SYNTAX',
    message: /formatDate has no attribute 'calendar'; expected locale/,
  })
})
