/** A process that is killed while it commits mail: the mail is in the spool if and only if the objects are there, and once. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { MaildropHost, openDatabase } from '../../objects/index.ts'

const MAILER = fileURLToPath(new URL('../support/mailer.ts', import.meta.url))

/** Each point at which the mailer dies, and whether the transaction is durable there. */
const POINTS: [point: string, durable: boolean][] = [
  ['before anything', false],
  ['spool held-written', false], // the large mail's, before the commit
  ['before the batch', false],
  ['committed', true],
  ['held', true],
  ['released', true],
  ['spool released', true], // one of the two is renamed
  ['renamed', true],
  ['done', true],
  ['never', true],
]

for (const [point, durable] of POINTS) {
  t.test(`killed at '${point}'`, async t => {
    const home = await mkdtemp(join(tmpdir(), 'mail-crash-'))
    t.teardown(() => rm(home, { recursive: true }))
    const objects = join(home, 'objects')
    const spool = join(home, 'maildrop', 'spool')
    process.env.MAILDROP_HOME = join(home, 'maildrop')

    const setup = await openDatabase(objects)
    await setup.transact(app => app.create('/mail/XYZ', new MaildropHost(), { parents: true }))
    await setup.close()

    const child = spawn(process.execPath, ['--import=tsx', MAILER, objects, point], { stdio: 'inherit' })
    const [code, signal] = await once(child, 'exit')
    t.same([code, signal], point === 'never' ? [0, null] : [null, 'SIGKILL'])

    for (const time of ['first', 'second']) {
      const db = await openDatabase(objects)
      t.equal(
        await db.transact(app => app.has(point)),
        durable,
        `the objects are ${durable ? '' : 'not '}there, ${time} look`,
      )
      for await (const [key] of db.outbox.outboxRows('mail/')) t.fail(`row ${key} is left`)
      await db.close()
      const names = (await readdir(spool).catch(() => [])).filter(name => !name.startsWith('.') && name !== 'failed')
      const texts = await Promise.all(names.map(name => readFile(join(spool, name), 'utf8')))
      const subjects = texts.map(text => /^Subject: (.*)\r$/m.exec(text)?.[1]).sort()
      t.same(
        subjects,
        durable ? [`${point} 100`, `${point} 300000`] : [],
        `each mail is there ${durable ? 'once' : 'never'}`,
      )
      for (const text of texts)
        t.equal(text.split('\r\n\r\n')[1], 'text\r\n'.repeat(text.length > 10_000 ? 60_000 : 20), 'whole')
      t.same(await readdir(join(spool, '.held')).catch(() => []), [], 'no held file is left')
    }
  })
}
