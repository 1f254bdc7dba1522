/** What may stand in the data: promises anywhere, iterables, values of every kind; and what reading them may throw. */
import t from 'tap'
import { compileTemplate, SafeText } from '../../templates/index.ts'

const page = async (source: string, data: Record<string, unknown>) =>
  compileTemplate(source, { name: 'page.hbs' }).render(data)

t.test('promises may stand anywhere in the data', async t => {
  const soon = <T>(value: T) => new Promise<T>(resolve => setImmediate(resolve, value))
  const data = {
    user: soon({ name: soon('Ann'), roles: soon([soon('x'), 'y']) }),
    key: soon('name'),
    list: [1, 2, 3].map(n => soon({ n: soon(n) })),
    yes: soon(true),
    no: soon(0),
  }
  t.equal(await page('<<user.name>> <<#each user.roles>><<.>>,<</each>> <<lookup user key>>', data), 'Ann x,y, Ann')
  t.equal(await page('<<#if yes>>y<</if>><<#if no>>n<</if>><<#each list>><<n>><</each>>', data), 'y123')
  t.equal(await page('<<#list>><<n>><</list>><<#with user as |u|>><<u.name>><</with>>', data), '123Ann')
})

t.test('the promises of a long list are awaited together', async t => {
  let renderings = 0
  const list = Array.from({ length: 5000 }, (_, n) => Promise.resolve(n))
  const data = {
    list,
    get counted() {
      renderings += 1
      return ''
    },
  }
  t.equal((await page('<<counted>><<#each list>><<.>>,<</each>>', data)).split(',').length, 5001)
  t.equal(renderings, 2)
})

t.test('what reading the data throws is an error with its place and its cause', async t => {
  const boom = new Error('boom')
  const rejected = Promise.reject(boom)
  rejected.catch(() => {})
  const data = {
    rejected,
    list: [rejected],
    get getter() {
      throw boom
    },
    object: {
      get x() {
        throw boom
      },
    },
    iterable: {
      [Symbol.iterator]() {
        throw boom
      },
    },
  }
  const cases: [string, RegExp][] = [
    ['\n <<rejected>>', /^page\.hbs:2:4: 'rejected' could not be read: boom$/],
    ['<<getter>>', /^page\.hbs:1:3: 'getter' could not be read: boom$/],
    ['<<#if object.x>>y<</if>>', /^page\.hbs:1:7: 'object\.x' could not be read: boom$/],
    ['a <<#each object>>y<</each>>', /^page\.hbs:1:3: '#each' could not be read: boom$/],
    ['a <<#each list>>y<</each>>', /^page\.hbs:1:3: '#each' could not be read: boom$/],
    ['a <<#each iterable>>y<</each>>', /^page\.hbs:1:3: '#each' could not be read: boom$/],
  ]
  for (const [source, message] of cases)
    await t.rejects(page(source, data), { code: 'TEMPLATE_RENDER', message, cause: boom }, source)
})

t.test('an attribute that is a new promise at each reading is an error, not a hang', async t => {
  const data = {
    get now() {
      return Promise.resolve(Date.now())
    },
  }
  await t.rejects(page('<<now>>', data), { code: 'TEMPLATE_RENDER', message: /a new one at each reading/ })
})

t.test('values of every kind are written or refused', async t => {
  const data = {
    zero: 0,
    big: 10n ** 20n,
    no: false,
    list: ['a', ['<b>'], null],
    html: new SafeText('<i>'),
    map: new Map([['k', 'v']]),
    set: new Set(['s', 't']),
    object: { a: 1 },
    bare: Object.create(null),
    symbol: Symbol('s'),
  }
  t.equal(
    await page('<<zero>> <<big>> <<no>> <<list>> <<html>> <<null>><<missing>>', data),
    '0 100000000000000000000 false a,&lt;b&gt;, <i> ',
  )
  t.equal(
    await page('<<#each map>><<this.[0]>>=<<this.[1]>><</each>> <<#each set>><<.>><<@index>><</each>>', data),
    'k=v s0t1',
  )
  t.equal(await page('<<#each object>><<@key>><<.>><</each>> <<#each zero>>x<<else>>none<</each>>', data), 'a1 none')
  await t.rejects(page('<<object>>', data), { message: /found an object with a; name the attribute/ })
  await t.rejects(page('<<bare>>', data), { message: /found an object with no attributes/ })
  await t.rejects(page('<<symbol>>', data), { message: /found a symbol/ })
})
