/** A process that is killed while it commits or publishes mail: the mail is in the spool if and only if the objects are there, and once. */
import { readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { SpoolStep } from '../../maildrop/steps.ts'
import { MaildropHost, openDatabase } from '../../objects/index.ts'
import type { PublishStep } from '../../objects/mail-publisher.ts'
import { launch, PROJECT } from '../support/children.ts'
import { mailsIn } from '../support/maildrop.ts'
import { directory } from '../support/program.ts'

// Most of the time is the start of processes.
t.jobs = 2

/** A database with a mail host in it, and a spool. */
async function setUp(t: Test) {
  const home = await directory(t, 'mail-crash-')
  const spool = join(home, 'spool')
  const objects = join(home, 'objects')
  const maildropConfig = join(home, 'maildrop.conf')
  await writeFile(maildropConfig, `MAILDROP_HOME="${home}"\n`, { mode: 0o600 })
  const open = () => openDatabase(objects, { maildropConfig })
  const setup = await open()
  await setup.transact(app => app.create('/mail/XYZ', new MaildropHost(), { parents: true }))
  await setup.close()
  return {
    spool,
    /** Runs the mailer; returns how it ended. */
    async mailer(point: string, mode?: 'fail' | 'recover' | 'submit') {
      const args = [objects, point, ...(mode === undefined ? [] : [mode])]
      const { end, stderr } = await launch(t, 'tests/support/mailer.ts', args, {
        cwd: PROJECT,
        env: { MAILDROP_HOME: home },
      }).ended
      t.equal(stderr, '')
      return end
    },
    /** Opens the database twice; each time, what was committed under that name is there with its mails, or nothing is. */
    async check(name: string, durable: boolean) {
      for (const time of ['first', 'second']) {
        const db = await open()
        const found = await db.transact(app => app.has(name))
        t.equal(found, durable, `the objects are ${durable ? '' : 'not '}there, ${time} look`)
        for await (const [key] of db.outbox.outboxRows('mail/')) t.fail(`row ${key} is left`)
        await db.close()
        const texts = mailsIn(spool)
        t.same(
          texts.map(text => /^Subject: (.*)\r$/m.exec(text)?.[1]).sort(),
          durable ? [`${name} 100`, `${name} 300000`] : [],
          `each mail is there ${durable ? 'once' : 'never'}`,
        )
        for (const text of texts)
          t.equal(text.split('\r\n\r\n')[1], 'text\r\n'.repeat(text.length > 10_000 ? 60_000 : 20), 'whole')
        t.same(await readdir(join(spool, '.held')).catch(() => []), [], 'no held file is left')
      }
    },
  }
}

/** Each point at which the mailer dies, and whether the transaction is durable there. */
const POINTS: Record<`spool ${SpoolStep}` | PublishStep | 'before anything' | 'before the batch' | 'never', boolean> = {
  'before anything': false,
  // Of the large mail, before the commit.
  'spool held-written': false,
  'spool held-synced': false,
  'before the batch': false,
  // Of a transaction that fails after that.
  'spool held-discarded': false,
  committed: true,
  held: true,
  released: true,
  // One of the two is renamed.
  'spool released': true,
  'spool spool-synced': true,
  renamed: true,
  done: true,
  never: true,
}

for (const [point, durable] of Object.entries(POINTS)) {
  t.test(`killed at '${point}': the mail is there if and only if the objects are`, async t => {
    const { mailer, check } = await setUp(t)
    const end = await mailer(point, point === 'spool held-discarded' ? 'fail' : undefined)
    t.same(end, point === 'never' ? 0 : 'SIGKILL')
    await check(point, durable)
  })
}

t.test('killed again at every step of the recovery: the mail is there, and once', async t => {
  const { mailer, check } = await setUp(t)
  t.equal(await mailer('committed'), 'SIGKILL')
  const steps: (PublishStep | `spool ${SpoolStep}`)[] = [
    'spool held-written',
    'spool held-synced',
    'held',
    'released',
    'spool released',
    'spool spool-synced',
    'renamed',
  ]
  for (const step of steps) t.equal(await mailer(step, 'recover'), 'SIGKILL', step)
  await check('committed', true)
})

t.test('killed again while a held file without a commit is removed: it goes with the next opening', async t => {
  const { mailer, check } = await setUp(t)
  t.equal(await mailer('before the batch'), 'SIGKILL')
  t.equal(await mailer('spool held-discarded', 'recover'), 'SIGKILL')
  await check('before the batch', false)
})

/** Whether a mail that is published without a database is there, when its process dies at a step. */
const SUBMIT: Record<Exclude<SpoolStep, 'held-discarded'>, boolean> = {
  'held-written': false,
  'held-synced': false,
  released: true,
  'spool-synced': true,
}

for (const [step, published] of Object.entries(SUBMIT)) {
  t.test(
    `killed at '${step}' of a submission: the mail is ${published ? 'there' : 'not there'}, never a part of it`,
    async t => {
      const { mailer, spool } = await setUp(t)
      t.equal(await mailer(`spool ${step}`, 'submit'), 'SIGKILL')
      t.equal(mailsIn(spool).length, published ? 1 : 0)
      for (const mail of mailsIn(spool)) t.ok(mail.endsWith('text\r\n'.repeat(20)))
    },
  )
}
