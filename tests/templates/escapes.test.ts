/** The known ways out of Handlebars, and those that an evaluator of our own might open: nothing runs, nothing is read that is not data. */
import t from 'tap'
import { compileTemplate, TemplateError } from '../../templates/index.ts'

let ran: string[] = []
const spy = (name: string) => () => {
  ran.push(name)
  return name
}
class Account {
  name = 'own'
  get secret() {
    ran.push('getter of a prototype')
    return 'secret'
  }
  method() {
    ran.push('method')
    return 'method'
  }
}
/** What Handlebars' compiler takes for a parsed template. */
const PROGRAM = {
  type: 'Program',
  body: [
    {
      type: 'MustacheStatement',
      path: { type: 'PathExpression', parts: [], original: 'this', data: false, depth: 0 },
      params: [{ type: 'NumberLiteral', value: '{},{})) + ran.push("code")//', original: 1 }],
      loc: { start: { line: 1, column: 0 }, end: { line: 1, column: 1 } },
    },
  ],
}
const data = () => ({
  text: 'x',
  list: ['x'],
  account: new Account(),
  fn: spy('function'),
  nested: {
    fn: spy('nested function'),
    toString: spy('toString'),
    toHTML: spy('toHTML'),
    [Symbol.toPrimitive]: spy('toPrimitive'),
  },
  program: PROGRAM,
  code: { toString: spy('toString of a name'), valueOf: spy('valueOf') },
  helperMissing: spy('helperMissing'),
  blockHelperMissing: spy('blockHelperMissing'),
})

/** The page, or the error's code. */
async function outcome(source: string): Promise<string> {
  ran = []
  try {
    return await compileTemplate(source, {
      partial: name => (name === 'known' ? { name, source: 'known' } : undefined),
    }).render(data())
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error
    return error.code
  }
}

t.test('nothing of a prototype is read', async t => {
  const sources = [
    '{{constructor}}',
    '{{text.constructor}}',
    '{{list.constructor.name}}',
    '{{account.constructor.constructor}}',
    '{{account.secret}}',
    '{{account.method}}',
    '{{fn.constructor}}',
    '{{fn.call}}',
    '{{fn.name}}',
    '{{__proto__}}',
    '{{account.__proto__.secret}}',
    '{{__defineGetter__}}',
    '{{__defineSetter__}}',
    '{{__lookupGetter__}}',
    '{{account.__lookupGetter__}}',
    '{{toString}}',
    '{{list.map}}',
    '{{[constructor].[constructor]}}',
    '{{@root.constructor}}',
    '{{@constructor}}',
    '{{@root.__proto__}}',
    '{{lookup this "constructor"}}',
    '{{lookup account "__proto__"}}',
    '{{lookup text "constructor"}}',
    '{{lookup (lookup account "constructor") "constructor"}}',
    '{{lookup fn "constructor"}}',
    '{{lookup account code}}',
    '{{lookup account nested}}',
    '{{#with (lookup account "constructor")}}in{{/with}}',
    '{{#with account.constructor as |c|}}{{c.name}}{{/with}}',
    '{{#each (lookup account "__proto__")}}{{@key}}{{/each}}',
    '{{#constructor}}in{{/constructor}}',
    '{{#account.constructor}}in{{/account.constructor}}',
    '{{#with "s" as |string|}}{{#with string.sub.apply}}in{{/with}}{{string.constructor}}{{/with}}',
  ]
  for (const source of sources) {
    t.equal(await outcome(source), '', source)
    t.same(ran, [], source)
  }
})

t.test('no function of the data runs, as a value, a helper, a name or a text', async t => {
  const cases: [string, string][] = [
    ['{{fn}}', 'TEMPLATE_RENDER'],
    ['{{{fn}}}', 'TEMPLATE_RENDER'],
    ['{{nested}}', 'TEMPLATE_RENDER'],
    ['{{{nested}}}', 'TEMPLATE_RENDER'],
    ['{{code}}', 'TEMPLATE_RENDER'],
    ['{{concat "a" code}}', 'TEMPLATE_RENDER'],
    ['{{fn "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{nested.fn "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{account.method "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{#fn "x"}}in{{/fn}}', 'TEMPLATE_SYNTAX'],
    ['{{#if (fn)}}in{{/if}}', 'TEMPLATE_SYNTAX'],
    ['{{#if (nested.fn "x")}}in{{/if}}', 'TEMPLATE_SYNTAX'],
    ['{{toString "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{constructor "return 1"}}', 'TEMPLATE_SYNTAX'],
    ['{{__lookupGetter__ "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{__defineGetter__ "undefined" fn}}', 'TEMPLATE_SYNTAX'],
    ['{{helperMissing "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{#helperMissing "x"}}in{{/helperMissing}}', 'TEMPLATE_SYNTAX'],
    ['{{#blockHelperMissing . "x"}}in{{/blockHelperMissing}}', 'TEMPLATE_SYNTAX'],
    ['{{blockHelperMissing}}', 'TEMPLATE_RENDER'],
    ['{{log "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{#*constructor "x"}}in{{/constructor}}', 'TEMPLATE_SYNTAX'],
    ['{{* constructor "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{* inline "x"}}', 'TEMPLATE_SYNTAX'],
    ['{{> (fn)}}', 'TEMPLATE_SYNTAX'],
    ['{{> (lookup this "fn")}}', 'TEMPLATE_RENDER'],
    ['{{> (lookup this "code")}}', 'TEMPLATE_RENDER'],
    ['{{#*inline code}}x{{/inline}}', 'TEMPLATE_RENDER'],
  ]
  for (const [source, code] of cases) {
    t.equal(await outcome(source), code, source)
    t.same(ran, [], source)
  }
  t.equal(await outcome('{{#fn}}in{{/fn}}{{#if fn}}if{{/if}}'), 'inif', 'a function is a value that is there')
  t.same(ran, [])
})

t.test('a parsed template among the data is no partial and no code', async t => {
  for (const source of [
    '{{> (lookup this "program")}}',
    '{{#> (lookup this "program")}}in{{/(lookup this "program")}}',
    '{{#*inline program}}x{{/inline}}',
  ]) {
    t.match(await outcome(source), /^TEMPLATE_/, source)
    t.same(ran, [])
  }
  t.equal(await outcome('{{#with program}}{{type}}{{/with}}{{> known program}}'), 'Programknown')
})

t.test('names of Object.prototype are no partials, no variables and no parameters', async t => {
  for (const name of ['constructor', '__proto__', 'toString', 'hasOwnProperty'])
    t.equal(await outcome(`{{> ${name}}}`), 'NO_PARTIAL', name)
  t.equal(await outcome('{{#each list as |constructor __proto__|}}{{constructor}}{{__proto__}}{{/each}}'), 'x0')
  t.equal(await outcome('{{> known __proto__=account constructor="x"}}'), 'known')
  t.equal(
    await outcome('{{#*inline "__proto__"}}mine {{polluted}}{{/inline}}{{> __proto__ __proto__=program}}'),
    'mine ',
  )
  t.equal(({} as Record<string, unknown>).body, undefined)
})

t.test('data with names of their own stay data', async t => {
  const own = JSON.parse('{"constructor":"c","__proto__":{"x":"p"},"if":"i","sendmail":"s","toString":"t"}')
  const render = (source: string) => compileTemplate(source).render(own)
  t.equal(await render('{{constructor}} {{__proto__.x}} {{this.if}} {{this.sendmail}} {{toString}}'), 'c p i s t')
  await t.rejects(render('{{if}}'), { code: 'TEMPLATE_RENDER', message: /'if' is a block helper/ })
})
