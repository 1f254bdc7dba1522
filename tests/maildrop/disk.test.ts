/**
 * File systems that refuse: full, read-only, closed to the daemon's user, out of file descriptors, with a bad block. Whoever hands mail over
 * gets the error, nothing partial is ever seen, the daemon goes on with what it can, and with all of it when the trouble is over.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { askDaemon, controlPath } from '../../maildrop/daemon/control-socket.ts'
import { claimPidFile } from '../../maildrop/daemon/pid-file.ts'
import type { ServeStatus } from '../../maildrop/daemon/serve.ts'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { discardHeld } from '../../maildrop/spool/write.ts'
import { MaildropHost, openDatabase } from '../../objects/index.ts'
import type { Child } from '../support/children.ts'
import { diskProblem, mountSmallDisk } from '../support/disk.ts'
import { mailsIn, makeDue, namesIn, SAMPLE, type TestMaildrop, testMaildrop, whileFrozen } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { program } from '../support/program.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

const root = needs(process.getuid?.() === 0 ? undefined : 'only root can start a daemon as another user')
const disks = needs(diskProblem())
const NOBODY = 65_534
const AS_NOBODY = { TEST_USER: String(NOBODY) }

async function setUp(t: Test, env: Record<string, string> = {}, script: SmtpScript = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  return { server, drop: testMaildrop(t, server.port, env) }
}

const openFiles = (daemon: Child): number => readdirSync(`/proc/${daemon.pid}/fd`).length

/** Whether a process holds a file of a directory open that has been deleted: its file system cannot become read-only then. */
function holdsDeleted(daemon: Child, place: string): boolean {
  const files = `/proc/${daemon.pid}/fd`
  return readdirSync(files).some(fd => {
    try {
      const file = readlinkSync(join(files, fd))
      return file.startsWith(place) && file.endsWith(' (deleted)')
    } catch {
      return false
    }
  })
}

async function stop(t: Test, daemon: Child, stderr: string | RegExp = ''): Promise<void> {
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0, stderr })
}

/** Every line of the log begins as it should, also behind one that the full disk took only a part of, however small. */
function checkLog(t: Test, drop: TestMaildrop): void {
  const lines = drop.log().trimEnd().split('\n')
  t.strictSame(
    lines.filter(line => !/^(\d{4}-\d\d-\d\dT\S+Z [a-z-]+( |$)|[\dTZ:.-]*$)/.test(line)),
    [],
  )
}

t.test(
  'on a full disk a transaction with large mail fails and leaves nothing; small mail leaves when there is space',
  disks,
  async t => {
    const { server, drop } = await setUp(t)
    const disk = mountSmallDisk(t, drop.spool)
    const config = join(drop.home, 'maildrop.conf')
    writeFileSync(config, `MAILDROP_HOME="${drop.home}"\n`)
    const db = await openDatabase(join(drop.home, 'objects'), { maildropConfig: config })
    t.teardown(() => db.close())
    await db.transact(app => app.create('/mail/XYZ', new MaildropHost(), { parents: true }))
    const send = (name: string, size: number) =>
      db.transact(async app => {
        app.title = name
        const text = `From: a@example.org\nTo: ${name}@example.org\nSubject: ${name}\n\n${'text\n'.repeat(size / 5)}`
        await app.traverse('/mail/XYZ', MaildropHost).send(text)
      })
    await send('before', 100)
    await waitFor('the first mail', () => mailsIn(drop.spool).length === 1)

    const warned = new Promise<Error>(resolve => process.once('warning', resolve))
    disk.fill()
    await t.rejects(send('large', 200_000), { code: 'SPOOL_FULL', message: /free some space/ })
    t.equal(await db.transact(app => app.title), 'before', 'the transaction did not happen')
    t.strictSame(namesIn(drop.spool, '.held'), [], 'nothing partial is left')
    const id = newMailId()
    await t.rejects(drop.submit(['x@example.org'], { message: 'x'.repeat(10_000) }), { code: 'SPOOL_FULL' })
    t.equal(mailsIn(drop.spool).length, 1)
    await send('small', 10_000)
    t.match((await warned).message, /1 committed mail could not be published yet; kept in the database .*ENOSPC/)
    t.equal(mailsIn(drop.spool).length, 1)
    t.ok(id)

    disk.free()
    await waitFor('the small mail', () => mailsIn(drop.spool).length === 2)
    await send('after', 200_000)
    await waitFor('the last mail', () => mailsIn(drop.spool).length === 3)
    await drop.daemon()
    await drop.drained()
    t.strictSame(
      server.recipients(),
      ['after', 'before', 'small'].map(name => `${name}@example.org`),
    )
  },
)

t.test(
  'a full spool holds back only what would be sent twice, and the other mail makes room for it',
  disks,
  async t => {
    let greylisting = true
    const { server, drop } = await setUp(
      t,
      { MAILDROP_INTERVAL: '0.3', MAILDROP_CONNECTIONS: '1' },
      { rcpt: to => (to.startsWith('late') && greylisting ? '450 4.7.1 greylisted' : undefined) },
    )
    const disk = mountSmallDisk(t, drop.spool)
    const daemon = await drop.daemon()
    await whileFrozen(daemon, async () => {
      await drop.submit(['ann@example.org', 'later@example.org'])
      await drop.submit(['bob@example.org'])
      await drop.submit(['latest@example.org'])
      disk.fill()
    })
    await waitFor('the complaint', () => drop.lines('record-failed').length > 0)
    t.match(drop.lines('record-failed')[0], /ENOSPC; free some space on that file system/)
    const troubles = async () =>
      ((await askDaemon(controlPath(join(drop.home, 'var', 'maildrop.pid')), 'status', 10_000)) as ServeStatus).troubles
    t.match(await troubles(), [{ spool: drop.spool, text: /ENOSPC/ }])
    await waitFor('the mail behind it', () => server.recipients().includes('bob@example.org'))
    await waitFor('the deferral', () => namesIn(drop.spool, '.deferred').length > 0)
    t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
    disk.free()
    greylisting = false
    await waitFor('an empty queue', async () => {
      makeDue(drop.spool)
      return (await drop.queue()).length === 0
    })
    t.strictSame(
      server.recipients(),
      ['ann', 'bob', 'later', 'latest'].map(name => `${name}@example.org`),
      'each once',
    )
    await waitFor('the end of the trouble', async () => (await troubles()).length === 0)
    await stop(t, daemon)
  },
)

t.test('a log on a full disk stops no mail, and goes on with whole lines when there is space', disks, async t => {
  const { server, drop } = await setUp(t)
  const disk = mountSmallDisk(t, join(drop.home, 'var'))
  const daemon = await drop.daemon()
  disk.fill()
  // Their lines do not fit in what is left of the log's last page.
  const total = 40
  for (let i = 0; i < total; i++) await drop.submit([`r${i}@example.org`])
  await drop.drained()
  t.equal(new Set(server.recipients()).size, total)
  t.equal(server.messages.length, total)
  await waitFor('the complaint', () => /cannot write the log .*(ENOSPC|no space)/.test(daemon.output()))
  t.equal(daemon.output().match(/cannot write/g)?.length, 1, 'said once')
  disk.free()
  await drop.submit(['last@example.org'])
  await waitFor('the log', () => drop.lines('sent').some(line => line.includes('to=last@example.org')))
  checkLog(t, drop)
  await stop(t, daemon, /cannot write the log/)
})

t.test(
  'on a file system that becomes read-only the mail waits, quietly, and leaves at once when it can',
  disks,
  async t => {
    const { server, drop } = await setUp(t)
    const disk = mountSmallDisk(t, drop.spool)
    const daemon = await drop.daemon()
    await drop.submit(['first@example.org'])
    await drop.drained()
    await waitFor('what was sent to be closed', () => !holdsDeleted(daemon, drop.spool))
    const before = openFiles(daemon)
    const expected = Array.from({ length: 30 }, (_, i) => `r${i}@example.org`)
    await whileFrozen(daemon, async () => {
      for (const to of expected) await drop.submit([to])
      disk.readOnly(true)
    })
    await waitFor('the complaint', () => drop.lines('trouble').length > 0)
    t.match(drop.lines('trouble')[0], /EROFS; mount the file system for writing, or set MAILDROP_HOME elsewhere/)
    // So that it has tried several times.
    await waitFor('another try', () => server.commands.filter(line => line.startsWith('EHLO')).length >= 2)
    t.equal(server.messages.length, 1)
    const ctl = async (command: string) => await program(drop.home, 'maildrop/bin/maildropctl', [command], drop.env)
    t.match(await ctl('status'), { code: 0, stdout: /\n {2}trouble {3}.*EROFS; mount the file system for writing/ })
    t.match(await ctl('configtest'), { code: 1, stderr: /: its file system is read-only; mount it for writing/ })
    t.match(await ctl('drain'), { code: 1, stdout: /^30 messages left: 30 waiting/ }, 'it returns')
    const pidFile = join(drop.spool, '.pid')
    t.throws(
      () => claimPidFile(pidFile, 'config'),
      { message: /^cannot write .*\.pid: EROFS/ },
      'what was wanted, not what was tidied',
    )
    await discardHeld(drop.spool, newMailId())
    t.pass('what never was need not be removed')
    disk.readOnly(false)
    await drop.drained()
    t.strictSame(server.recipients(), ['first@example.org', ...expected].sort())
    t.ok(drop.lines('trouble').length <= 3, drop.lines('trouble').join('\n'))
    t.strictSame(drop.lines('worker-failed'), [])
    await waitFor('the connections to close', () => server.open === 0)
    await waitFor(`no more than ${before} open files, as before`, () => openFiles(daemon) <= before)
    await stop(t, daemon)
  },
)

t.test('without file descriptors nothing is lost or given up, and mail flows when there are some', disks, async t => {
  const { server, drop } = await setUp(t)
  const daemon = await drop.daemon()
  const limit = (files: number) => {
    const { status, stderr } = spawnSync('prlimit', ['--pid', String(daemon.pid), `--nofile=${files}:`], {
      encoding: 'utf8',
    })
    t.equal(status, 0, stderr)
  }
  // Descriptors are given out from the lowest number on, and these are taken.
  limit(3)
  await drop.submit(['ann@example.org'])
  await drop.drop('sample', SAMPLE)
  await waitFor('the complaint', () => daemon.output().includes('EMFILE') || /EMFILE/.test(drop.log()))
  t.strictSame(server.messages, [])
  limit(1024)
  await drop.drained()
  await waitFor('both messages', () => server.messages.length === 2)
  t.strictSame(namesIn(drop.spool, 'failed'), [])
  t.strictSame(drop.lines('worker-failed'), [])
  await drop.submit(['bob@example.org'])
  await drop.drained()
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0 })
})

t.test(
  'a file with a bad block, or that may not be moved, holds up neither new nor deferred mail, and stays',
  disks,
  async t => {
    const { server, drop } = await setUp(t, { MAILDROP_INTERVAL: '0.5', MAILDROP_CONNECTIONS: '1' })
    const bad = `import fs from 'node:fs'; import { syncBuiltinESMExports } from 'node:module'
    const fail = (code, path) => { throw Object.assign(new Error(code + ': injected, ' + path), { code }) }
    const { openSync, renameSync } = fs
    fs.openSync = (path, ...rest) => String(path).endsWith('/bad-block') ? fail('EIO', path) : openSync(path, ...rest)
    fs.renameSync = (from, to) => String(from).endsWith('/immovable') ? fail('EPERM', from) : renameSync(from, to)
    syncBuiltinESMExports()`
    await drop.drop('bad-block', SAMPLE)
    await drop.drop('immovable', SAMPLE)
    const id = newMailId()
    mkdirSync(join(drop.spool, '.deferred'))
    writeFileSync(
      join(drop.spool, '.deferred', `1.${id}`),
      formatMailFile({ id, from: '', to: ['deferred@example.org'] }, Buffer.from('Subject: x\r\n\r\n')),
    )
    await drop.submit(['new@example.org'])
    await drop.daemon([], { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(bad)}` })
    await waitFor('both messages', () => server.messages.length === 2)
    t.strictSame(server.recipients(), ['deferred@example.org', 'new@example.org'])
    await waitFor('both complaints', () => drop.lines('stuck').length === 2)
    await drop.submit(['later@example.org'])
    await waitFor('later mail', () => server.messages.length === 3)
    t.equal(drop.lines('stuck').length, 2, 'each said once')
    t.strictSame(
      namesIn(drop.spool).filter(name => /bad-block|immovable/.test(name)),
      ['bad-block', 'immovable'],
    )
    t.strictSame(namesIn(drop.spool, 'failed'), [])
  },
)

t.test('a daemon that may not write its spool does not start, and says what to do', root, async t => {
  const { drop } = await setUp(t)
  mkdirSync(drop.spool, { mode: 0o700 })
  chmodSync(drop.home, 0o755)
  const daemon = await drop.daemon([], AS_NOBODY)
  t.match(await daemon.ended, {
    end: 1,
    stderr: /SPOOL_DENIED|run as the user who owns the spool, or correct its owner and mode/,
  })
})

t.test(
  'a spool that is closed to the daemon while it runs is served again when it is open, without loss',
  root,
  async t => {
    const { server, drop } = await setUp(t, { MAILDROP_INTERVAL: '600' })
    for (const directory of [drop.home, drop.spool, join(drop.home, 'var')]) {
      mkdirSync(directory, { recursive: true, mode: 0o700 })
      chownSync(directory, NOBODY, NOBODY)
    }
    const daemon = await drop.daemon([], AS_NOBODY)
    const put = async (to: string) => {
      const id = await drop.submit([to])
      chownSync(join(drop.spool, id), NOBODY, NOBODY)
    }
    await whileFrozen(daemon, async () => {
      await put('ann@example.org')
      await put('bob@example.org')
      chmodSync(drop.spool, 0)
    })
    await waitFor('the complaint', () => drop.lines('trouble').length > 0)
    t.match(drop.lines('trouble')[0], /EACCES/)
    const status = async () =>
      (await askDaemon(controlPath(join(drop.home, 'var', 'maildrop.pid')), 'status', 10_000)) as ServeStatus
    t.match((await status()).troubles, [{ spool: drop.spool, text: /EACCES/ }])
    t.strictSame(server.messages, [])
    chmodSync(drop.spool, 0o700)
    await drop.drained()
    t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
    await waitFor('the end of it in the status', async () => (await status()).troubles.length === 0)

    writeFileSync(join(drop.home, 'draft'), SAMPLE, { mode: 0o600 })
    renameSync(join(drop.home, 'draft'), join(drop.spool, 'secret'))
    mkdirSync(join(drop.spool, 'foreign'), { mode: 0o755 })
    await put('eve@example.org')
    await waitFor('the mail beside it', () => server.messages.length === 3)
    await waitFor('the file that may not be read to be put aside', () => drop.lines('unfit').length === 1)
    t.match(drop.lines('unfit')[0], /name=secret text="it may not be read by the user the daemon runs as"/)
    await waitFor('the reason', () => namesIn(drop.spool, 'failed').length === 2)
    t.match(drop.lines('stuck'), [/name=foreign text=".* is a directory, not mail, and may not be moved/])
    t.equal(drop.lines('stuck').length, 1)
    t.ok(namesIn(drop.spool).includes('foreign'))
    await drop.drained()
    t.match(await drop.queue(), [{ status: 'failed', problem: 'it may not be read by the user the daemon runs as' }])
    await stop(t, daemon)
    t.equal(drop.lines('stop').length, 1)
  },
)
