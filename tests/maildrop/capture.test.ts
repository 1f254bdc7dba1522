/** Mail that is captured: what is in the mailbox at the end, read by Python's own mailbox module, whatever dies meanwhile. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { localLines, quoteFrom } from '../../maildrop/capture/text.ts'
import { formatIdentity, ownIdentity } from '../../maildrop/process-identity.ts'
import { diskProblem, mountSmallDisk } from '../support/disk.ts'
import { failsWith, setUp } from '../support/launchers.ts'
import { namesIn, type TestMaildrop, testMaildrop } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { fc } from '../support/properties.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 4

const FORMATS = ['maildir', 'mbox'] as const
type Format = (typeof FORMATS)[number]

const READER = `
import json, mailbox, sys
box = mailbox.Maildir(sys.argv[2], create=False) if sys.argv[1] == 'maildir' else mailbox.mbox(sys.argv[2], create=False)
print(json.dumps([box.get_bytes(key).decode('latin1') for key in box.keys()]))
`

/** The messages in a mailbox, line ends LF, quoting as in the file. */
function read(format: Format, path: string): string[] {
  const { stdout, stderr } = spawnSync('python3', ['-I', '-c', READER, format, path], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (stderr !== '') throw new Error(stderr)
  return JSON.parse(stdout) as string[]
}

function capturing(t: Test, format: Format, env: Record<string, string> = {}): { drop: TestMaildrop; box: string } {
  // Port 1 answers nobody: what is delivered has been captured.
  const drop = testMaildrop(t, 1, { MAILDROP_CAPTURE: `${format}:box`, ...env })
  return { drop, box: join(drop.home, 'box') }
}

const BODY = 'From here\n>From there\n>>From\nFrom\n.\n..\nwide \u00e4\nbare\rcarriage\r\n'
const KEPT = 'From here\n>From there\n>>From\nFrom\n.\n..\nwide \u00c3\u00a4\nbare\ncarriage\n'

for (const format of FORMATS) {
  t.test(`a ${format} takes all mail, each message once with its envelope, and nothing is sent`, async t => {
    const { drop, box } = capturing(t, format)
    await drop.submit(['ann@example.org', 'bob@example.org'], { message: `Subject: two\nBcc: x@y.org\n\n${BODY}` })
    await drop.submit(['\u00e4nn@example.org'], { from: '', message: 'Subject: null\n\nno end of line' })
    await drop.submit(['big@example.org'], { message: `Subject: big\n\n${'From a line of it\n'.repeat(20_000)}` })
    await drop.daemon()
    await drop.drained()
    const mails = read(format, box).sort()
    t.equal(mails.length, 3)
    const quoted = (text: string): string => (format === 'mbox' ? text.replace(/^(>*From )/gm, '>$1') : text)
    const key = format === 'mbox' ? 'X-Maildrop-Key: [-a-z0-9.]+\n' : ''
    const sender = '<sender@example.org>'
    const find = (subject: string) => mails.find(mail => mail.includes(`\nSubject: ${subject}\n`)) ?? ''
    const matches = (subject: string, trace: string, body: string) => {
      const head = new RegExp(`^${key}Return-Path: ${trace}\nSubject: ${subject}\n\n`)
      t.match(find(subject), head)
      t.equal(find(subject).replace(head, ''), quoted(body), subject)
    }
    matches('two', `${sender}\nX-Envelope-To: <ann@example.org>,\n <bob@example.org>`, KEPT)
    const end = format === 'mbox' ? '\n' : ''
    matches('null', '<>\nX-Envelope-To: <\u00c3\u00a4nn@example.org>', `no end of line${end}`)
    matches('big', `${sender}\nX-Envelope-To: <big@example.org>`, 'From a line of it\n'.repeat(20_000))
    t.equal(drop.lines('sent').length, 4)
    t.match(drop.lines('sent')[0], / relay=capture stage=dot code=250 /)
    t.match(drop.lines('start')[0], new RegExp(`relay=capture .*text="mail goes to ${format}:${box}, nothing is sent"`))
    if (format === 'maildir') t.strictSame(namesIn(box, 'tmp'), [])
    else t.strictSame(namesIn(drop.home), ['box', 'spool', 'var'], 'no lock and no draft is left')
  })

  for (const step of ['claimed', 'sending', 'appending', 'accepted', 'removed']) {
    if (format === 'maildir' && step === 'appending') continue
    t.test(`killed at "${step}", every message is in the ${format} exactly once`, async t => {
      const { drop, box } = capturing(t, format, { MAILDROP_CONNECTIONS: '1' })
      for (let i = 0; i < 5; i++)
        await drop.submit([`r${i}@example.org`], { message: `Subject: n${i}\n\n${'text\n'.repeat(40_000)}` })
      t.match(await (await drop.daemon([step, '2'])).ended, { end: 'SIGKILL' })
      await drop.daemon()
      await drop.drained()
      const mails = read(format, box)
      const subjects = mails.map(mail => /^Subject: (.*)$/m.exec(mail)?.[1])
      t.strictSame(subjects.sort(), ['n0', 'n1', 'n2', 'n3', 'n4'])
      for (const mail of mails) t.ok(mail.trimEnd().endsWith(`\n\n${'text\n'.repeat(40_000)}`.trimEnd()))
      t.notOk(existsSync(`${box}.lock`))
    })
  }

  t.test(
    `a full disk leaves no part of a message in the ${format}; all is there when there is room`,
    needs(diskProblem()),
    async t => {
      const { drop } = capturing(t, format, { MAILDROP_CAPTURE: `${format}:disk/box` })
      const disk = mountSmallDisk(t, join(drop.home, 'disk'))
      const daemon = await drop.daemon()
      await drop.submit(['first@example.org'])
      await drop.drained()
      await drop.submit(['large@example.org'], { message: `Subject: large\n\n${'x\n'.repeat(1_000_000)}` })
      await waitFor('the alarm', () => drop.lines('server-down').length > 0)
      t.match(drop.lines('server-down')[0], /relay=capture stage=dot code=421 text="cannot write .*: ENOSPC/)
      const path = join(drop.home, 'disk', 'box')
      t.equal(read(format, path).length, 1)
      await drop.submit(['small@example.org'])
      await waitFor('the small one', async () => (await drop.queue()).length === 1)
      t.equal(read(format, path).length, 2)
      daemon.process.kill('SIGTERM')
      t.match(await daemon.ended, { end: 0, stderr: '' })
      disk.fill()
      await drop.submit(['third@example.org'])
      await drop.daemon()
      await waitFor('another alarm', () => drop.lines('server-down').some(line => line.includes('stage=connect')))
      t.strictSame((await drop.queue()).map(({ status }) => status).sort(), ['deferred', 'waiting'])
      disk.free()
      await waitFor('the third', async () => (await drop.queue()).length === 1)
      t.equal(read(format, path).length, 3)
    },
  )
}

t.test('a message that was read meanwhile is not put into the Maildir again', async t => {
  const { drop, box } = capturing(t, 'maildir')
  await drop.submit(['ann@example.org'])
  t.match(await (await drop.daemon(['accepted'])).ended, { end: 'SIGKILL' })
  const [name] = namesIn(box, 'new')
  renameSync(join(box, 'new', name!), join(box, 'cur', `${name}:2,S`))
  await drop.daemon()
  await drop.drained()
  t.strictSame([namesIn(box, 'new'), namesIn(box, 'cur')], [[], [`${name}:2,S`]])
  t.match(drop.lines('sent')[0], /text="kept: it is in \S+ already"/)
})

t.test('an mbox of others: its lock is waited for, its open end is ended, and what they append stays', async t => {
  const { drop, box } = capturing(t, 'mbox')
  writeFileSync(box, 'From a Thu Jan  1 00:00:00 1970\nSubject: old\n\nno end of line')
  writeFileSync(`${box}.lock`, '4711')
  const daemon = await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the claim', () => namesIn(drop.spool, '.claim').some(owner => namesIn(drop.spool, '.claim', owner)[0]))
  t.notMatch(readFileSync(box, 'utf8'), 'hello', 'nothing is written without the lock')
  rmSync(`${box}.lock`)
  await drop.drained()
  t.strictSame(
    read('mbox', box).map(mail => /^Subject: (.*)$/m.exec(mail)?.[1]),
    ['old', 'hello'],
  )
  daemon.process.kill('SIGTERM')
  await daemon.ended

  // The lock of a process that is dead, which has appended a part; and one whose message was whole, with another behind it.
  const dead = formatIdentity({ ...ownIdentity(), start: '1' })
  const size = readFileSync(box).length
  for (const [appended, left] of [
    ['From b\nSubject: part', size],
    [`From b\nSubject: whole\n\n${'x'.repeat(100)}\n\nFrom c\nSubject: other\n\n`, undefined],
  ] as const) {
    truncateSync(box, size)
    writeFileSync(box, appended, { flag: 'a' })
    const before = readFileSync(box).length
    writeFileSync(`${box}.lock`, `${dead}\n${size} 100\n`)
    await drop.submit(['bob@example.org'])
    const next = await drop.daemon()
    await drop.drained()
    const text = readFileSync(box, 'latin1').slice(left ?? before)
    t.match(text, /^From sender@example\.org \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\nX-Maildrop-Key: /)
    next.process.kill('SIGTERM')
    await next.ended
  }
})

t.test('the commands say that nothing is sent, and configtest whether the mailbox can be written', async t => {
  const { run, cwd, home } = await setUp(t)
  const env = { MAILDROP_CAPTURE: 'mbox:mail/box' }
  const capture = `capture ${`mbox:${join(cwd, 'mail', 'box')}`}`
  t.match(await run('maildropctl', ['configtest'], env), {
    end: 0,
    stdout: `${capture} can be written; nothing is sent\n`,
  })
  t.match(await run('start_maildrop', [], env), { end: 0, stdout: `  ${capture}: nothing is sent\n` })
  const status = await run('maildropctl', ['status'], env)
  t.match(status, { end: 0, stdout: `  ${capture.replace(' ', '   ')}: nothing is sent\n` })
  t.match(status.stdout, '  delivers  to capture, which is up\n')
  const { stdout } = await run('maildropctl', ['status', '--json'], env)
  t.match(JSON.parse(stdout), { capture: { format: 'mbox', path: join(cwd, 'mail', 'box') } })
  t.match(await run('stop_maildrop', [], env), { end: 0 })
  const bad = await run('maildropctl', ['configtest'], { MAILDROP_CAPTURE: `maildir:${home}/var/maildrop.log/x` })
  t.match(bad, { end: 1, stderr: /cannot write maildir:.*ENOTDIR.*; correct MAILDROP_CAPTURE/ })
})

/** What a generator of pieces makes of a text, cut in any way. */
async function through(make: (pieces: AsyncIterable<Uint8Array>) => AsyncIterable<string>, parts: readonly string[]) {
  let all = ''
  const pieces = async function* () {
    for (const part of parts) yield Buffer.from(part, 'latin1')
  }
  for await (const piece of make(pieces())) all += piece
  return all
}

const parts = fc.array(
  fc
    .array(fc.constantFrom('F', 'r', 'o', 'm', 'From ', '>', '\n', '\r', ' ', 'x'), { maxLength: 6 })
    .map(a => a.join('')),
)

t.test('an mbox that is no file is waited for by nobody, and takes no mail', async t => {
  const { run, cwd, submit, spool } = await setUp(t)
  const env = { MAILDROP_CAPTURE: 'mbox:pipe' }
  execFileSync('mkfifo', [join(cwd, 'pipe')])
  failsWith(t, await run('maildropctl', ['configtest'], env), 1, /pipe: it is a pipe, where a file is needed/)
  const id = await submit('ann@example.org')
  t.match(await run('maildropctl', ['drain'], env), { end: 1, stdout: /1 message left: 1 waiting; .* it is a pipe/ })
  t.ok(namesIn(spool).includes(id))
})

t.test('wherever a text is cut, its lines end in LF and quoting can be undone', async t => {
  await fc.assert(
    fc.asyncProperty(parts, async pieces => {
      const local = await through(localLines, pieces)
      const quoted = await through(each => quoteFrom(localLines(each)), pieces)
      const whole = pieces.join('')
      return (
        local === whole.replace(/\r\n|\r/g, '\n') &&
        !/^From /m.test(quoted) &&
        quoted.replace(/^>(>*From )/gm, '$1') === local
      )
    }),
    { numRuns: 3000 },
  )
  t.pass()
})
