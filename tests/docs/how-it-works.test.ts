/** docs/how-it-works.md names every step of a message's way, and no other: they are the points at which the tests kill the processes. */
import { readFileSync } from 'node:fs'
import t from 'tap'

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')
const PAGE = read('docs/how-it-works.md')

const sectionOf = (title: string) => PAGE.split(/^## /m).find(section => section.startsWith(title)) ?? ''
const rowsOf = (title: string) => Array.from(sectionOf(title).matchAll(/^\| `([a-z-]+)` \|/gm), ([, step]) => step)

/** The members of a union of string literals, in its order. */
function union(file: string, name: string): string[] {
  const declared = new RegExp(`^export type ${name} =([^]*?)\\n\\n`, 'm').exec(read(file))?.[1] ?? ''
  return Array.from(declared.matchAll(/'([a-z-]+)'/g), ([, step]) => step!)
}

t.test('the steps from the row to the spool', async t => {
  const steps = union('objects/mail-publisher.ts', 'PublishStep')
  t.ok(steps.length >= 5)
  t.strictSame(rowsOf('From the row'), steps)
})

t.test('the steps from the spool to the server', async t => {
  const steps = union('maildrop/steps.ts', 'DaemonStep')
  t.ok(steps.length >= 10)
  const notices = Array.from(sectionOf('From the spool').matchAll(/`(notice-[a-z]+)`/g), ([, step]) => step)
  t.strictSame([...rowsOf('From the spool'), ...notices].sort(), [...steps].sort())
})
