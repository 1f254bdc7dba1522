/**
 * `npm run demo`: the main job, end to end, with everything for real.
 *
 * Creates a database in a directory of its own under `data/demo`, a mail host in it, and renders a shipped page that sends mail; starts the
 * daemon with its start script, and shows what an SMTP server received. The server is embedded, unless SMTP_HOST or SMTP_PORT name another.
 */
import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Application, type Database, MaildropHost, openDatabase, renderFile } from '../../objects/index.ts'
import { type Inbox, startInbox } from '../support/inbox.ts'

const TOP = fileURLToPath(new URL('../..', import.meta.url))
const DEADLINE = 15_000
const execute = promisify(execFile)
const started = performance.now()

const step = (text: string) => console.log(`${(performance.now() - started).toFixed(0).padStart(6)} ms  ${text}`)
const indent = (text: string) =>
  text
    .trimEnd()
    .split(/\r?\n/)
    .map(line => `           | ${line}\n`)
    .join('')
    .trimEnd()
const took = (since: number) => `${(performance.now() - since).toFixed(1)} ms`

async function main(): Promise<void> {
  const home = join(TOP, 'data', 'demo', new Date().toISOString().replace(/[:.]/g, '-'))
  await mkdir(home, { recursive: true })
  const inbox = process.env.SMTP_HOST || process.env.SMTP_PORT ? undefined : await startInbox()
  process.env.MAILDROP_HOME = join(home, 'maildrop')
  if (inbox !== undefined) Object.assign(process.env, { SMTP_HOST: '127.0.0.1', SMTP_PORT: `${inbox.port}` })
  step(
    `mail goes to ${inbox ? 'the embedded SMTP server' : 'the SMTP server'} at ${process.env.SMTP_HOST ?? 'localhost'}:${process.env.SMTP_PORT ?? 25}`,
  )

  const database = await openDatabase(join(home, 'objects'))
  step(`object database created in ${join(home, 'objects')}`)
  let running = false
  try {
    await database.transact(app =>
      app.create('/mail/XYZ', new MaildropHost({ title: 'Outgoing mail' }), { parents: true }),
    )
    step('MaildropHost created at /mail/XYZ')

    await order(database, 1)
    step(`the mail waits in ${join(home, 'maildrop', 'spool')}`)
    const start = performance.now()
    const { stdout } = await execute(join(TOP, 'maildrop', 'bin', 'start_maildrop'))
    running = true
    step(`maildrop/bin/start_maildrop took ${took(start)}:`)
    console.log(indent(stdout))
    await arrival(inbox, 1, start, 'the start of the daemon')

    const page = await order(database, 2)
    await arrival(inbox, 2, page, 'the page')
    if (inbox !== undefined) {
      step('the second message, as the server received it:')
      console.log(indent(inbox.messages[1]!.text))
    }
  } finally {
    await database.close()
    if (running) {
      const { stdout } = await execute(join(TOP, 'maildrop', 'bin', 'stop_maildrop'))
      step(`maildrop/bin/stop_maildrop: ${stdout.trim()}`)
    }
    await inbox?.close()
  }
  step("the daemon's log:")
  console.log(indent(await readFile(join(home, 'maildrop', 'var', 'maildrop.log'), 'utf8')))
  step('done')
}

/** Renders the page of an order in a transaction. @returns when it began */
async function order(database: Database<Application>, number: number): Promise<number> {
  const data = {
    order: {
      number,
      items: [
        { name: 'Tea pot', quantity: 1, price: '24.50' },
        { name: 'Cups & saucers', quantity: 6, price: '9.00' },
      ],
      total: '78.50',
    },
    customer: { name: 'Zoë Müller', email: process.env.DEMO_TO ?? 'zoe@example.org' },
  }
  const begun = performance.now()
  const page = await database.transact(async app => {
    const context = app.traverse('/mail')
    return renderFile(join(TOP, 'templates', 'order-confirmation.hbs'), data, { context })
  })
  step(
    `page ${number}: templates/order-confirmation.hbs rendered and committed; the page returned after ${took(begun)} (${page.length} characters)`,
  )
  return begun
}

/** Waits until the n-th mail has arrived; with a server that is not ours, until the spool is empty. */
async function arrival(inbox: Inbox | undefined, n: number, since: number, what: string): Promise<void> {
  const spool = join(process.env.MAILDROP_HOME!, 'spool')
  const arrived = async () => {
    if (inbox !== undefined) return inbox.messages.length >= n
    const waiting = await Promise.all(
      ['', '.held', '.claim', '.deferred'].map(each =>
        readdir(join(spool, each), { withFileTypes: true, recursive: each === '.claim' }),
      ),
    )
    return waiting.flat().every(entry => !entry.isFile())
  }
  for (const deadline = Date.now() + DEADLINE; !(await arrived()); await delay(2))
    if (Date.now() > deadline)
      throw new Error(`the mail did not arrive within ${DEADLINE} ms; the log is in ${join(spool, '..', 'var')}`)
  step(`the mail arrived after ${took(since)} (counted from ${what})`)
}

await main().catch(error => {
  console.error(`demo: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
})
