/** docs/errors.md and the sources agree: every code that can come out is in its tables, and every one there can come out. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ERROR_CODES, type ErrorCode, isRetryable, ObjectError } from '../../lib/index.ts'
import { COMPOSE_ERROR_CODES } from '../../maildrop/compose/index.ts'
import { MAILDROP_ERROR_CODES } from '../../maildrop/index.ts'
import { TEMPLATE_ERROR_CODES } from '../../templates/index.ts'
import { TOP } from '../support/program.ts'

const CLASSES: Record<string, Readonly<Record<string, string>>> = {
  ObjectError: ERROR_CODES,
  TemplateError: TEMPLATE_ERROR_CODES,
  ComposeError: COMPOSE_ERROR_CODES,
  MaildropError: MAILDROP_ERROR_CODES,
}
/**
 * Errors that stay between modules: of the daemon (it carries an event instead of a code), of the storage (it becomes DATABASE_CORRUPT), and
 * of the configuration (it becomes CONFIG_INVALID).
 */
const INTERNAL = ['SessionError', 'Unexpected', 'Unsound']

interface Row {
  readonly code: string
  readonly meaning: string
  readonly remedy: string
  readonly again: string
}

function tables(): Map<string, Row[]> {
  const found = new Map<string, Row[]>()
  for (const section of readFileSync(join(TOP, 'docs/errors.md'), 'utf8').split(/^## /m).slice(1)) {
    const name = /^`(\w+)`/.exec(section)?.[1] ?? ''
    const rows = [...section.matchAll(/^\| `(\w+)` \| (.*?) \| (.*?) \| (\w+) \|$/gm)]
    const lines = section.split('\n').filter(line => line.startsWith('|'))
    t.equal(rows.length, lines.length - 2, `every row of ${name} has four columns`)
    found.set(
      name,
      rows.map(([, code = '', meaning = '', remedy = '', again = '']) => ({ code, meaning, remedy, again })),
    )
  }
  return found
}

/** The sources without their comments and without the tables of codes, which are all that uses an unquoted code. */
const sources = ['lib', 'objects', 'templates', 'maildrop', 'bin'].flatMap(room =>
  readdirSync(join(TOP, room), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts'))
    .map(file => readFileSync(join(TOP, room, file), 'utf8').replace(/^\s*(\/\*\*|\*|\/\/).*$/gm, '')),
)

t.test('the tables have the codes of the sources, with their meanings', async t => {
  const found = tables()
  t.same([...found.keys()].sort(), Object.keys(CLASSES).sort())
  for (const [name, codes] of Object.entries(CLASSES))
    t.same(Object.fromEntries(found.get(name)!.map(({ code, meaning }) => [code, meaning])), codes, name)
})

t.test('every class of errors is described', async t => {
  const classes = sources.flatMap(text => [...text.matchAll(/class (\w+) extends \w*Error\b/g)].map(([, name]) => name))
  t.same(classes.sort(), [...Object.keys(CLASSES), ...INTERNAL].sort())
})

t.test('every code that is written in the sources is described', async t => {
  const written = /new (ObjectError|TemplateError|ComposeError|MaildropError)\(\s*'(\w+)'/g
  let count = 0
  for (const text of sources)
    for (const [, name = '', code = ''] of text.matchAll(written)) {
      t.ok(Object.hasOwn(CLASSES[name]!, code), `${name} ${code}`)
      count += 1
    }
  t.ok(count > 200, `${count} places were found`)
})

t.test('every code that is described comes out somewhere', async t => {
  // a code that is only asked for, or only named, is given by nobody
  const given = sources.map(text => text.replace(/([!=]==? ?|case )'\w+'/g, '')).join('\n')
  for (const [name, codes] of Object.entries(CLASSES))
    for (const code of Object.keys(codes)) t.ok(given.includes(`'${code}'`), `${name} ${code}`)
})

t.test('what the tables say of running again is what transact does', async t => {
  for (const [name, rows] of tables())
    for (const { code, again, remedy } of rows) {
      t.match(again, /^(transact|later|no)$/, code)
      t.match(remedy, /^[A-Z`].*\.$/, `${code} says what to do`)
      if (name !== 'ObjectError') t.not(again, 'transact', code)
      else t.equal(again === 'transact', isRetryable(new ObjectError(code as ErrorCode, '')), code)
    }
})
