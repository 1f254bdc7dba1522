/** Our side of docs/coming-from.md: each example runs, and sends what stands below it. */
import { join } from 'node:path'
import t from 'tap'
import { MaildropHost, openDatabase, PersistentMap, preview, Template } from '../../objects/index.ts'
import { mailSystemOf } from '../../objects/mail-system.ts'
import { newLevel } from '../support/database.ts'
import { examplesIn, shownMail } from '../support/guide.ts'
import { messageOf } from '../support/mail-database.ts'
import { mailsIn } from '../support/maildrop.ts'
import { directory } from '../support/program.ts'

const PAGE = 'coming-from.md'
const programs = examplesIn(PAGE, 'js')
const pages = examplesIn(PAGE, 'hbs')
const names = { MaildropHost, Template, PersistentMap, preview }

/** Runs code as the body of a module that imports those names; returns what it prints. */
async function run(code: string, shop: unknown): Promise<string[]> {
  const printed: string[] = []
  const AsyncFunction = (async () => undefined).constructor as FunctionConstructor
  const work = new AsyncFunction('shop', 'console', ...Object.keys(names), code)
  await work(shop, { log: (what: unknown) => printed.push(String(what)) }, ...Object.values(names))
  return printed
}

for (const { line, source, below } of [...programs, ...pages])
  t.test(`the example at line ${line}`, async t => {
    const home = await directory(t)
    process.env.MAILDROP_HOME = home
    const shop = await openDatabase(newLevel())
    t.teardown(() => shop.close())
    await shop.transact(app => app.add('XYZ', new MaildropHost()))
    if (pages.some(page => page.line === line)) {
      const data = JSON.parse(below.json ?? '{}')
      await shop.transact(app => app.add('page', new Template(source)).render(data))
    } else {
      for (const printed of await run(source, shop)) t.equal(printed, 'true')
    }
    await mailSystemOf(shop).publisher.settled()
    const mails = mailsIn(join(home, 'spool')).map(mail => shownMail(Buffer.from(messageOf(mail))))
    t.strictSame(mails, below.mail === undefined ? [] : [{ text: below.mail, defects: [] }])
  })

t.test('all of our code is run', async t => {
  t.ok(programs.length >= 6 && pages.length >= 1, `${programs.length} programs and ${pages.length} pages were found`)
})
