/** What is a << >> tag and what stays text. */
import assert from 'node:assert/strict'
import t from 'tap'
import { compileTemplate, TemplateError } from '../../templates/index.ts'
import { fc } from '../support/properties.ts'

const DATA = { name: 'N', x: true, user: { name: 'U' }, b: 'B', raw: '<r>', list: ['1', '2'], shown: 'S' }
const page = async (source: string) =>
  compileTemplate(source, { name: 'page.hbs', partial: name => ({ name, source: 'partial' }) }).render(DATA)

t.test('these are tags', async t => {
  const cases: [string, string][] = [
    ['<<name>>', 'N'],
    ['<< name >>', 'N'],
    ['a<<name>>b', 'aNb'],
    ['<<user.name>> <<this.name>> <<[name]>> <<@root.name>>', 'U N N N'],
    ['<<#if x>>y<</if>>', 'y'],
    ['<<#if\n  x\n>>y<</if>>', 'y'],
    ['<<#if z>>y<<else>>n<</if>>', 'n'],
    ['<<#if z>>y<<else if x>>e<</if>>', 'e'],
    ['<<#if z>>y<<^>>n<</if>>', 'n'],
    ['<<^z>>n<</z>>', 'n'],
    ['<<#each list>><<.>>,<</each>>', '1,2,'],
    ['<<#each list as |item i|>><<i>><<item>><</each>>', '0112'],
    ['<<>  shown>>', 'partial'],
    ['<<#>shown>>x<</shown>>', 'partial'],
    ['<<#*inline "me">>I<<name>><</inline>><<> me>>', 'IN'],
    ['a<<! comment }} of a page>>b', 'ab'],
    ['a<<!-- <<name>> {{name}} >> -->>b', 'ab'],
    ['a<<!-->>b<<!-- -->>c{{!--}}d', 'abcd'],
    ['a{{! <<name>> }}b{{!-- }} <<name>> --}}c', 'abc'],
    ["<<#*inline 'me'>>I<</inline>><<> 'me'>>", 'I'],
    ['<<> (lookup (lookup @root "list") 0)>>', 'partial'],
    ['<<<raw>>> <<&raw>> <<raw>>', '<r> <r> &lt;r&gt;'],
    ['a <<~name~>> b', 'aNb'],
    ['a <<~<raw>~>> b', 'a<r>b'],
    ['<<lookup user "name">> <<lookup this (lookup list "x")>>', 'U '],
    ['<<lookup this "a>>b">>|<<lookup this "a}}b">>', '|'],
    ['<<name>>>', 'N>'],
    ['{<<name>>}', '{N}'],
    ['{{<<name>>}}', '{{N}}'],
    ['{"a":{"b":"<<name>>"}}', '{"a":{"b":"N"}}'],
    ['<<#if x>>{{name}}{{else}}no<</if>>', 'N'],
    ['\\\\<<name>>', '\\N'],
  ]
  for (const [source, expected] of cases) t.equal(await page(source), expected, source)
})

t.test('raw blocks keep what is in them', async t => {
  const source = '<<<<if x>>>> <<name>> {{name}} <<<</if>>>>'
  t.equal(await page(source), ' <<name>> {{name}} ')
  t.equal(await page('{{{{if x}}}} <<name>> {{{{/if}}}}<<name>>'), ' <<name>> N')
})

t.test('these stay text, byte for byte', async t => {
  const texts = [
    'a << b',
    'cout << x << endl;',
    'cat <<EOF\nname\nEOF\n',
    'cat <<EOF >>log\nEOF',
    "cat <<'EOF'",
    'cat <<-EOF',
    'cat <<!\nname\n!\nls >>log',
    '>> quoted',
    '>>> deeper',
    '<<',
    '>>',
    '<<>>',
    '<< >>',
    '<<<<',
    '<<<>>>',
    '<<<<>>>>',
    '1<<2',
    '1<<2>>3',
    '1 << 2 >> 3',
    '<<p>',
    '<<p',
    '<<p\n>>',
    '<<name >>',
    '<< name>>',
    '<<\nname\n>>',
    '<<<name>>',
    '<<<<<name>>>>>',
    '<<<<<<< HEAD',
    '>>>>>>> branch',
    '<<...>>',
    '<<>->>',
    '<<#1>>',
    '<</-->>',
    '<<[a <<name2 ]>>',
    '\0',
    'a\0b',
    '<<"name">>',
    '<<a; b>>',
    '<<a, b>>',
    "<<it's>>",
    'x <<= 1; y >>= 2',
    'std::vector<std::vector<int>> v',
    '<<<<raw>>>> without an end',
    '<<!-- without an end',
    '}} {',
    '\ue000\ue001',
  ]
  for (const text of texts) {
    t.equal(await page(text), text, JSON.stringify(text))
    t.equal(await page(`<<name>>${text}`), `N${text}`, `after a tag: ${JSON.stringify(text)}`)
  }
})

t.test('a backslash makes << text', async t => {
  t.equal(await page('\\<<name>> <<name>>'), '<<name>> N')
  t.equal(await page('a \\<< b'), 'a << b')
  t.equal(await page('\\{{name}} <<name>>'), '{{name}} N')
  t.equal(await page('C:\\dir'), 'C:\\dir')
})

t.test('any text without tags comes out as it went in', async () => {
  const soup = fc.string({
    unit: fc.oneof(
      fc.constantFrom('<', '<<', '>', '>>', '}', ' ', '\n', ';', '1', '"', '~', '!', '\ue000', 'é'),
      fc.string({ maxLength: 2 }),
    ),
    maxLength: 30,
  })
  const noTags = soup.filter(
    text => !/\{\{|\\|<<~?[!#&^/><*\s]*[\p{L}_$@.[("']/u.test(text) && !/<<~?(?:\^|!)/.test(text),
  )
  await fc.assert(
    fc.asyncProperty(noTags, async text => {
      assert.equal(await page(text), text)
    }),
    { numRuns: 3000 },
  )
})

t.test('whitespace control works on comments', async t => {
  for (const source of ['a <<~! b ~>> c', 'a <<~!-- b --~>> c', 'a {{~! b ~}} c', 'a {{~!-- b --~}} c'])
    t.equal(await page(source), 'ac', source)
})

t.test('a tag of Handlebars that is not closed is an error with its place', async t => {
  for (const source of ['a\n {{! x', 'a\n {{!-- x }}', 'a\n {{{{if x}}}}', 'a\n {{name', 'a\n {{name [x'])
    await t.rejects(page(source), { code: 'TEMPLATE_SYNTAX', line: 2 }, source)
})

t.test('nesting has a limit, and an error with its place beyond it', async t => {
  const nest = (n: number, open: string, close: string, inside = 'in') => open.repeat(n) + inside + close.repeat(n)
  t.equal(await page(nest(100, '<<#if x>>', '<</if>>')), 'in')
  t.equal(await page(nest(3, '<<#if x>>', '<</if>>').repeat(200)), 'in'.repeat(200))
  t.equal(await page(`<<#if z>>${'<<else if z>>'.repeat(99)}<<else>>in<</if>>`.repeat(2)), 'inin')
  t.equal(await page(`<<lookup ${nest(100, '(lookup ', ' "a")', 'x')} "b">>`), '')
  t.equal(await page(`{{{{if x}}}}${'('.repeat(200)}{{{{/if}}}}`), '('.repeat(200))
  const cases: [string, RegExp][] = [
    [nest(101, '<<#if x>>\n', '<</if>>'), /hbs:101:1: more than 100 blocks/],
    [nest(101, '{{#if x}}\n', '{{/if}}'), /hbs:101:1: more than 100 blocks/],
    [nest(101, '<<^z>>', '<</z>>'), /hbs:1:601: more than 100 blocks/],
    [`<<#if z>>${'\n{{else if z}}'.repeat(100)}<</if>>`, /hbs:101:1: more than 100 blocks/],
    [`\n <<lookup ${nest(101, '(lookup ', ' "a")', 'x')} "b">>`, /hbs:2:2: more than 100 sub-expressions/],
  ]
  for (const [source, message] of cases) await t.rejects(page(source), { code: 'TEMPLATE_SYNTAX', message }, source)
})

t.test('a partial that calls itself for ever is an error', async t => {
  const source = `${'<<#if x>>'.repeat(50)}<<> me>>${'<</if>>'.repeat(50)}`
  await t.rejects(compileTemplate(source, { partial: () => ({ name: 'me.hbs', source }) }).render(DATA), {
    code: 'TEMPLATE_RENDER',
    message: /^me\.hbs:1:\d+: more than 500 blocks and partials/,
  })
})

t.test('a megabyte of anything takes seconds, not hours', async t => {
  const units = [
    '<<',
    '< ',
    '<',
    '>>',
    '<<!--',
    '<<!a',
    '<<! a >>',
    '<<!-- -->>',
    '<<a [',
    '<<a "',
    `<<a "<<b '`,
    '<<a \\"',
    '<<#if x ',
    '<<name>>',
    '<<name',
    '<<<name>>',
    '<<<<a>>>> ',
    '<<<</a>>>> ',
    '\\<<',
    '\\{{',
    '\\\\{{',
    '{{',
    '{{{',
    '{{{{',
    '{{!--',
    '{{a [',
    '{{{{a}}}}',
    '}}',
    '\n',
    ' ',
    ' \n',
    '\0',
    '\ue000',
    '{{#if x}}',
    '<<#if (',
    '<<a ((((',
  ]
  for (const unit of units)
    for (const source of [
      `${unit.repeat(1e6 / unit.length)}] -->> ' " }} <<name>>`,
      `<<name>>${unit.repeat(1e6 / unit.length)}x{{#if x}}\n{{/if}}`,
    ]) {
      // a quadratic one would take hours: the limit of the test tells
      await page(source).catch(error => t.equal(error.name, 'TemplateError', String(error).slice(0, 300)))
    }
})

t.test('any text at all is rendered or refused with a place in it', async () => {
  const soup = fc.string({
    unit: fc.constantFrom(
      '<<',
      '>>',
      '{{',
      '}}',
      '<',
      '>',
      '{',
      '}',
      '#if x',
      '/if',
      'else',
      'name',
      '^',
      '~',
      '!',
      '--',
      '"',
      '\\',
      ' ',
      '\n',
      '&',
      '(',
      ')',
    ),
    maxLength: 25,
  })
  await fc.assert(
    fc.asyncProperty(soup, async source => {
      try {
        await page(source)
      } catch (error) {
        assert.ok(error instanceof TemplateError, String(error))
        const lines = source.split('\n')
        assert.ok(error.line >= 1 && error.line <= lines.length, error.message)
        assert.ok(error.column >= 1 && error.column <= lines[error.line - 1]!.length + 1, error.message)
      }
    }),
    { numRuns: 5000 },
  )
})

t.test('errors name file, line and column of the author, with either kind of delimiters', async t => {
  const cases: [string, string, RegExp][] = [
    ['\n  <<foo bar>>', 'TEMPLATE_SYNTAX', /^page\.hbs:2:3: there is no helper 'foo'/],
    ['<<#if x>>\n<</each>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:4: the block 'if' is closed as 'each': expected \/if/],
    ['\n<<#if x>>abc', 'TEMPLATE_SYNTAX', /^page\.hbs:2:1: the block 'if' is never closed: expected \/if/],
    [
      '<<#if x>>\n <<#each y>><</each>> <<#each z>>',
      'TEMPLATE_SYNTAX',
      /^page\.hbs:2:23: the block 'each' is never closed/,
    ],
    ['a <</if>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:3: there is no open block/],
    ['{{{{raw}}}} x', 'TEMPLATE_SYNTAX', /^page\.hbs:1:\d+: /],
    ['<<#if x>>\n\n  <<#sendmail>>a<</sendmail>><</if>>', 'NO_MAIL_HOST', /^page\.hbs:3:3: /],
    ['a\n<<sendmail "x">>', 'TEMPLATE_SYNTAX', /^page\.hbs:2:1: sendmail is a block/],
    ['<<#*foo "x">><</foo>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:1: there is no decorator 'foo'/],
    ['<<> a b c>>', 'TEMPLATE_SYNTAX', /^page\.hbs:1:1: a partial takes one context/],
    ['\n <<#if>>x<</if>>', 'TEMPLATE_RENDER', /^page\.hbs:2:2: if: expected 1 argument, found 0/],
    ['x <<user>>', 'TEMPLATE_RENDER', /^page\.hbs:1:3: expected text, found an object with name/],
    ['<<#lookup user "x">>a<</lookup>>', 'TEMPLATE_RENDER', /^page\.hbs:1:1: 'lookup' is not a block helper/],
    ['<<#if (if x)>>a<</if>>', 'TEMPLATE_RENDER', /^page\.hbs:1:7: 'if' is a block helper/],
  ]
  for (const [source, code, message] of cases)
    for (const written of [source, source.replaceAll('<<', '{{').replaceAll('>>', '}}')])
      await t.rejects(async () => page(written), { code, message }, JSON.stringify(written))
})
