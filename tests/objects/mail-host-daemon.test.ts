/** What a mail host knows of the daemon's side: times, configurations, the queue, the log, and where a message is. */
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findById } from '../../maildrop/index.ts'
import { operate } from '../../maildrop/spool/operations.ts'
import { type Application, type Database, MaildropHost, openDatabase } from '../../objects/index.ts'
import { mailSystemOf } from '../../objects/mail-system.ts'
import { setProperty } from '../../objects/properties.ts'
import { newLevel } from '../support/database.ts'
import { mailsIn, testMaildrop } from '../support/maildrop.ts'
import { directory, program, removeDirectory } from '../support/program.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

const MESSAGE = 'From: a@example.org\nTo: b@example.org\nSubject: Hello\n\nThe text.\n'
const host = (app: Application) => app.traverse('/XYZ', MaildropHost)

/** A database with a mail host at /XYZ, on a home directory. */
async function place(t: Test, home = temporary(t), options: Parameters<typeof openDatabase>[1] = {}) {
  process.env.MAILDROP_HOME = home
  const db = await openDatabase(newLevel(), options)
  await db.transact(app => app.create('/XYZ', new MaildropHost()))
  t.teardown(() => db.close())
  const settled = () => mailSystemOf(db).publisher.settled()
  const look = <T>(work: (host: MaildropHost) => Promise<T>) => db.transact(app => work(host(app)))
  return { db, home, spool: join(home, 'spool'), settled, look }
}

function temporary(t: Test): string {
  const home = mkdtempSync(join(tmpdir(), 'host-daemon-'))
  t.teardown(() => removeDirectory(home))
  return home
}

const send = (db: Database<Application>, options: object = {}, message = MESSAGE) =>
  db.transact(app => host(app).send(message, options))

t.test('sendAt is written into the mail file; a time that has passed means at once', async t => {
  const { db, spool, settled } = await place(t)
  const later = new Date(Date.now() + 3_600_000)
  await send(db, { sendAt: later, subject: 'date' })
  await send(db, { sendAt: '2999-12-24T18:00:00+01:00', subject: 'text' })
  await send(db, { sendAt: new Date(0), subject: 'past' })
  await send(db, { sendAt: '2001-01-01T00:00Z', subject: 'past text' })
  await settled()
  const times = mailsIn(spool).map(mail => [
    /^Subject: (.*)\r$/m.exec(mail)?.[1],
    /^##Not-Before:(.*)$/m.exec(mail)?.[1],
  ])
  t.strictSame(times, [
    ['date', later.toISOString()],
    ['text', '2999-12-24T17:00:00.000Z'],
    ['past', undefined],
    ['past text', undefined],
  ])
})

t.test('a sendAt that is no time is an error that says what is expected, and nothing is sent', async t => {
  const { db, spool, settled } = await place(t)
  for (const sendAt of ['tomorrow', '2026-12-24T18:00', '2026-02-30', new Date(Number.NaN), 5, null, '+123456-01-01']) {
    await t.rejects(
      send(db, { sendAt }),
      { code: 'INVALID_ARGUMENT', message: /^sendAt: expected a Date .*2026-12-24T18:00:00\+01:00, found / },
      String(sendAt),
    )
  }
  await settled()
  t.strictSame(mailsIn(spool), [])
})

t.test('a host uses the configuration of the key it names, out of those that are allowed', async t => {
  const home = temporary(t)
  const file = join(home, 'news')
  writeFileSync(file, `MAILDROP_SPOOL="${join(home, 'news-spool')}"\nSMTP_HOST="news.example.org"\n`)
  const { db, spool } = await place(t, home, { maildropConfigs: { news: file } })
  t.throws(
    () => setProperty(new MaildropHost(), 'configPath', 'news'),
    { code: 'NOT_CONNECTED' },
    'what is allowed is known in a tree only',
  )
  await db.transact(app => {
    t.throws(() => setProperty(host(app), 'configPath', file), {
      code: 'INVALID_ARGUMENT',
      message: /'configPath' must be empty or news, found/,
    })
    setProperty(host(app), 'configPath', 'news')
  })
  await send(db)
  await mailSystemOf(db).publisher.settled()
  t.equal(mailsIn(join(home, 'news-spool')).length, 1)
  t.strictSame(mailsIn(spool), [])
  await db.transact(app => {
    t.match(host(app).settings(), { configuration: file, server: 'news.example.org:25' })
    host(app).configPath = '../secrets'
  })
  await t.rejects(send(db), {
    code: 'INVALID_ARGUMENT',
    message: /no configuration "\.\.\/secrets" of the maildrop; allowed: news \(/,
  })
})

t.test('the command line knows the configurations of MAILDROP_CONFIGS', async t => {
  const cwd = await directory(t)
  writeFileSync(join(cwd, 'news'), 'SMTP_HOST="news.example.org"\n')
  const objtree = (args: string[], MAILDROP_CONFIGS = 'news=news; other = other') =>
    program(cwd, 'bin/objtree', args, { MAILDROP_CONFIGS })
  t.match(await objtree(['init'], 'news'), { code: 1, stderr: /MAILDROP_CONFIGS: expected key=file;key=file/ })
  const configs = 'news=news;other=other'
  t.match(await objtree(['init'], configs), { code: 0 })
  t.match(await objtree(['add', 'MaildropHost', '/news', 'configPath=news'], configs), { code: 0 })
  const shown = await objtree(['show', '/news', '--json'], configs)
  t.match(JSON.parse(shown.stdout), {
    properties: { configPath: 'news' },
    settings: { configuration: join(cwd, 'news'), server: 'news.example.org:25' },
  })
  t.match(await objtree(['set', '/news', 'configPath=mail'], configs), {
    code: 1,
    stderr: /'configPath' must be empty or news or other, found "mail"/,
  })
  t.match(await objtree(['set', '/news', 'configPath='], configs), { code: 0 })
})

t.test('a message is followed by its Message-ID from the commit to its end', async t => {
  const server = await startSmtpScript({ rcpt: to => (to.startsWith('no') ? '550 5.1.1 no such user' : undefined) })
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port)
  const { db, spool, settled, look } = await place(t, drop.home)
  let early = ''
  await db.transact(async app => {
    early = await host(app).send(MESSAGE)
    t.match(await host(app).status(early), { status: 'unknown' }, 'not before the commit')
  })
  await settled()
  t.match(await look(host => host.status(early)), { status: 'waiting', recipients: [{ address: 'b@example.org' }] })
  const own = await send(db, { to: 'no@example.org' }, `Message-ID: <mine@example.com>\n${MESSAGE}`)
  t.equal(own, '<mine@example.com>')
  const scheduled = await send(db, { sendAt: new Date(Date.now() + 3_600_000) })
  await settled()
  t.match(await look(host => host.status(own)), { status: 'waiting' })
  t.match(await look(host => host.status('mine@example.com')), { status: 'waiting' }, 'brackets may be left out')
  const mail = await findById([spool], id => early.includes(id))
  await operate('hold', mail!)
  t.match(await look(host => host.status(early)), { status: 'held' })
  await drop.daemon()
  const failed = await waitFor('the failure', async () => {
    const found = await look(host => host.status(own))
    return found.status === 'failed' && found
  })
  t.match(failed, { attempts: 1, recipients: [{ address: 'no@example.org', status: 'failed', code: 550 }] })
  t.match(await look(host => host.status(scheduled)), { status: 'scheduled', next: /Z$/ })
  await operate('release', (await findById([spool], id => early.includes(id)))!)
  await waitFor('the delivery', async () => (await look(host => host.status(early))).status === 'unknown')
  t.equal(server.messages.length, 1)
  t.match(await look(host => host.queue()), [{ status: 'scheduled' }, { status: 'failed', from: 'a@example.org' }])
  t.match(await look(host => host.status('<nobody@example.org>')), { status: 'unknown' })
})

t.test('a message that is committed and not in the spool yet is being published', async t => {
  const { db, home, spool, settled, look } = await place(t)
  process.on('warning', () => undefined)
  writeFileSync(spool, 'a file in the place of the directory')
  const ids = [await send(db), await send(db, {}, `Message-ID: <mine@example.com>\n${MESSAGE}`)]
  await settled()
  for (const id of ids) t.strictSame(await look(host => host.status(id)), { status: 'publishing' })
  await rm(spool)
  await mkdir(home, { recursive: true })
  await waitFor('publication', async () => (await look(host => host.status(ids[0]!))).status === 'waiting')
  t.match(await look(host => host.status(ids[1]!)), { status: 'waiting' })
})

t.test('the log is read from its end, in whole lines', async t => {
  const { home, look } = await place(t)
  t.equal(await look(host => host.log()), '')
  mkdirSync(join(home, 'var'), { recursive: true })
  writeFileSync(join(home, 'var', 'maildrop.log'), Array.from({ length: 1000 }, (_, i) => `line ${i}\n`).join(''))
  t.equal(await look(host => host.log({ bytes: 25 })), 'line 998\nline 999\n')
  await t.rejects(
    look(host => host.log({ bytes: 0 })),
    { code: 'INVALID_ARGUMENT' },
  )
})

t.test('the ids that an application gives fit into the table of maildropctl queue', async t => {
  const { db, home, settled } = await place(t)
  await send(db)
  await settled()
  const { stdout } = await program(home, 'maildrop/bin/maildropctl', ['queue'], { MAILDROP_HOME: home })
  const [head = '', row = ''] = stdout.split('\n')
  t.equal(row.indexOf('waiting'), head.indexOf('state'))
})
