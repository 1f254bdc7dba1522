/** Failure notices: who is told what, once, and read by two parsers that share nothing with us. */
import { createHash } from 'node:crypto'
import { mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { simpleParser } from 'mailparser'
import t, { type Test } from 'tap'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { findMail } from '../../maildrop/spool/listing.ts'
import { operate } from '../../maildrop/spool/operations.ts'
import { readStateFile } from '../../maildrop/spool/state.ts'
import type { DaemonStep } from '../../maildrop/steps.ts'
import { makeDue, namesIn, type TestMaildrop, testMaildrop } from '../support/maildrop.ts'
import { type PythonMail, readWithPython } from '../support/python-mail.ts'
import { type ScriptedServer, type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

const refuseNo = (to: string) => (to.startsWith('no') ? '550 5.1.1 no such user' : undefined)

async function place(t: Test, script: SmtpScript = { rcpt: refuseNo }, env: Record<string, string> = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, { MAILDROP_BOUNCE: '1', MAILDROP_INTERVAL: '0.2', ...env })
  return { server, drop }
}

const notices = (server: ScriptedServer) => server.messages.filter(({ from }) => from === '')

/** Everything that can be tried has been, and what is left is in `failed`, with its reason. */
async function settled(drop: TestMaildrop): Promise<void> {
  await waitFor('the end', async () => {
    makeDue(drop.spool)
    const failed = namesIn(drop.spool, 'failed')
    const isDone = (await drop.queue()).every(({ status }) => status === 'failed')
    return isDone && failed.every(name => name.endsWith('.json') || failed.includes(`${name}.json`))
  })
}

const bytesOf = (data: string) => Buffer.from(data, 'latin1')

interface Notice {
  readonly python: PythonMail
  readonly text: string
  /** The blocks of message/delivery-status, each by field name. */
  readonly status: Record<string, string>[]
  readonly returned: PythonMail
}

/** Reads a notice with Python, and checks what all of them have in common. */
function read(t: Test, data: string): Notice {
  const [python] = readWithPython([bytesOf(data)])
  t.strictSame(python!.defects, [])
  const headers = Object.fromEntries(python!.headers)
  t.match(headers['Content-Type'], 'report-type="delivery-status"')
  t.match(headers, { From: /^Mail Delivery System <MAILER-DAEMON@/, 'Auto-Submitted': 'auto-replied' })
  const [text, status, returned, ...more] = python!.parts
  t.strictSame([python!.type, text?.type, status?.type], ['multipart/report', 'text/plain', 'message/delivery-status'])
  t.strictSame(more, [])
  return {
    python: python!,
    text: text!.text ?? '',
    status: status!.parts.map(({ headers }) => Object.fromEntries(headers)),
    returned: returned!,
  }
}

t.test('one of three recipients is refused: the sender is told of that one, once', async t => {
  const { server, drop } = await place(t)
  await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'no@example.org', 'bob@example.org'])
  await waitFor('the notice', () => notices(server).length > 0)
  await settled(drop)
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org', 'sender@example.org'])
  const [sent] = notices(server)
  const notice = read(t, sent!.data)
  t.match(Object.fromEntries(notice.python.headers), {
    To: 'sender@example.org',
    'In-Reply-To': '<fixed@example.org>',
    References: '<fixed@example.org>',
    'X-Maildrop-Notice': id,
    'Message-ID': `<${id}-n1@`,
  })
  t.match(notice.text, '  no@example.org\n      550 5.1.1 no such user (rcpt)\n')
  t.match(notice.text, 'Subject: hello')
  t.notMatch(notice.text, /ann@|bob@/)
  const [message, ...recipients] = notice.status
  t.match(message, { 'Reporting-MTA': /^dns; \S+$/, 'X-Maildrop-Id': id, 'Arrival-Date': / \+0000$/ })
  t.match(recipients, [
    {
      'Final-Recipient': 'rfc822; no@example.org',
      Action: 'failed',
      Status: '5.1.1',
      'Remote-MTA': 'dns; [127.0.0.1]',
      'Diagnostic-Code': 'smtp; 550 5.1.1 no such user',
      'Last-Attempt-Date': / \+0000$/,
    },
  ])
  t.equal(recipients.length, 1)
  t.equal(notice.returned.type, 'message/rfc822')
  t.match(notice.returned.parts, [{ text: 'Hello.\n' }])
  const parsed = await simpleParser(bytesOf(sent!.data))
  t.equal(parsed.subject, 'Your message could not be delivered')
  t.match(parsed.text, 'no@example.org')
  t.match(parsed.text, 'Final-Recipient: rfc822; no@example.org\n')
  t.match(parsed.attachments, [{ contentType: 'message/rfc822' }])
  t.strictSame(server.violations, [])
  t.match(drop.lines('notice'), [new RegExp(`id=${id} to=sender@example.org$`)])
  const reason = await readStateFile(join(drop.spool, 'failed', `${id}.json`))
  t.match(reason?.recipients, [{ status: 'sent' }, { status: 'failed', notice: `${id}-n1` }, { status: 'sent' }])
})

t.test('without MAILDROP_BOUNCE nobody is told', async t => {
  const { server, drop } = await place(t, undefined, { MAILDROP_BOUNCE: '0' })
  await drop.daemon()
  await drop.submit(['no@example.org'])
  await waitFor('the failure', () => namesIn(drop.spool, 'failed').length === 2)
  await drop.submit(['last@example.org'])
  await settled(drop)
  t.strictSame(server.recipients(), ['last@example.org'])
})

t.test('nobody is told about the null sender, a notice, or any other automatic message', async t => {
  const { server, drop } = await place(t)
  const headers = [
    'Auto-Submitted: auto-replied',
    'auto-submitted:\r\n auto-generated (by a program)',
    'Content-Type: multipart/report;\r\n report-type=delivery-status; boundary=x',
    'X-Maildrop-Notice: 1',
  ]
  for (const header of headers)
    await drop.submit(['no@example.org'], { message: `Subject: automatic\r\n${header}\r\n\r\nbody\r\n` })
  await drop.submit(['no@example.org'], { from: '' })
  await drop.submit(['no@example.org'], { message: 'Auto-Submitted: no\r\n\r\nby hand\r\n', from: 'hand@example.org' })
  await drop.daemon()
  await waitFor('the one notice', () => server.messages.length > 0)
  await settled(drop)
  t.strictSame(server.recipients(), ['hand@example.org'])
  t.equal((await drop.queue()).length, headers.length + 2)
})

t.test('a notice that is refused makes no further one', async t => {
  const { server, drop } = await place(t, { rcpt: () => '550 5.1.1 nobody' })
  await drop.daemon()
  await drop.submit(['no@example.org'])
  await waitFor('two failures', () => namesIn(drop.spool, 'failed').length === 4)
  await settled(drop)
  t.strictSame(server.messages, [])
  t.match(await drop.queue(), [{ from: 'sender@example.org' }, { from: '', recipients: [{ status: 'failed' }] }])
})

t.test('failed while others are deferred: told at once; those that fail later are told of by themselves', async t => {
  let reply = '450 4.7.1 later'
  const { server, drop } = await place(t, { rcpt: to => (to.startsWith('later') ? reply : refuseNo(to)) })
  await drop.daemon()
  const id = await drop.submit(['no@example.org', 'later@example.org'])
  await waitFor('the first notice', () => notices(server).length === 1)
  await waitFor('the deferral', async () => {
    const mail = (await drop.queue()).find(mail => mail.id === id)
    return mail?.status === 'deferred'
  })
  for (let attempt = 2; attempt < 4; attempt++) {
    await waitFor('another attempt', () => {
      makeDue(drop.spool)
      return drop.lines('defer-recipient').length >= attempt
    })
  }
  reply = '550 5.7.1 never'
  await settled(drop)
  const blocks = notices(server).map(({ data }) => read(t, data).status.slice(1))
  t.match(blocks, [
    [{ 'Final-Recipient': 'rfc822; no@example.org', Status: '5.1.1' }],
    [{ 'Final-Recipient': 'rfc822; later@example.org', Status: '5.7.1' }],
  ])
  t.strictSame(
    blocks.map(each => each.length),
    [1, 1],
  )
})

t.test('a message that became too old is told of as such', async t => {
  const { server, drop } = await place(
    t,
    { rcpt: to => (to.startsWith('slow') ? '451 4.3.0 not now' : undefined) },
    { MAILDROP_MAX_AGE: '1' },
  )
  await drop.daemon()
  await drop.submit(['slow@example.org'])
  await settled(drop)
  await waitFor('the notice', () => notices(server).length === 1)
  const { status, text } = read(t, notices(server)[0]!.data)
  t.match(status[1], { Action: 'failed', Status: '4.4.7', 'Diagnostic-Code': 'smtp; 451 4.3.0 not now' })
  t.match(text, 'too old to be tried again; 451 4.3.0 not now (rcpt)')
})

t.test('addresses that are not ASCII are written by RFC 6533, and what servers say stays text', async t => {
  const { server, drop } = await place(t, {
    extensions: ['PIPELINING', '8BITMIME', 'SMTPUTF8'],
    rcpt: to =>
      to.startsWith('sender') ? undefined : { raw: '550-5.1.1 \x1b[31mno\r\n550 5.1.1 X-Evil: yes \xe9\r\n' },
  })
  await drop.daemon()
  await drop.submit(['почта+a@example.org', '"no one"@example.org'])
  await waitFor('the notice', () => notices(server).length === 1)
  const [sent] = notices(server)
  t.match(sent!.data, /^[\t\r\n\x20-\x7e]*$/, 'the notice is ASCII')
  const { status, text } = read(t, sent!.data)
  t.match(status.slice(1), [
    { 'Final-Recipient': 'utf-8; \\x{43F}\\x{43E}\\x{447}\\x{442}\\x{430}\\x{2B}a@example.org' },
    { 'Final-Recipient': 'rfc822; "no one"@example.org' },
  ])
  t.match(text, 'почта+a@example.org')
  t.notMatch(sent!.data, '\x1b')
  t.strictSame(Object.keys(status[1]!).sort(), [
    'Action',
    'Diagnostic-Code',
    'Final-Recipient',
    'Last-Attempt-Date',
    'Remote-MTA',
    'Status',
  ])
})

t.test('of a large or an 8-bit message the header is returned, never its Bcc', async t => {
  const { server, drop } = await place(t)
  await drop.daemon()
  const head = (subject: string) => `Subject: ${subject}\r\nBcc: secret@example.org\r\nX-Long: ${'x'.repeat(1200)}\r\n`
  await drop.submit(['no@example.org'], { message: `${head('large')}\r\n${'line\r\n'.repeat(20_000)}` })
  await drop.submit(['no@example.org'], { message: `${head('Grüße')}\r\nübel\r\n` })
  await drop.submit(['no@example.org'], { message: 'Subject: small\r\nBcc: secret@example.org\r\n\r\nbody\r\n' })
  await waitFor('three notices', () => notices(server).length === 3)
  const read3 = notices(server).map(({ data }) => read(t, data).returned)
  const bySubject = (subject: string) =>
    read3.find(({ text = '', parts }) => (text + JSON.stringify(parts)).includes(subject))
  t.match(bySubject('large'), { type: 'text/rfc822-headers', text: /^Subject: large\nX-Long: x{1200}\n$/ })
  t.match(bySubject('Gr'), { type: 'text/rfc822-headers' })
  t.match(bySubject('small'), { type: 'message/rfc822', parts: [{ text: 'body\n' }] })
  for (const { data } of notices(server)) t.notMatch(data, 'secret@example.org')
  t.strictSame(server.violations, [])
})

const STEPS: readonly DaemonStep[] = [
  'claimed',
  'notice-held',
  'state-written',
  'notice-released',
  'failed',
  'reason-written',
]

for (const step of STEPS) {
  t.test(`kill -9 at the step ${step}: the sender is told exactly once`, async t => {
    // One connection, so that the notice is not yet on its way itself when the daemon dies.
    const { server, drop } = await place(t, undefined, { MAILDROP_CONNECTIONS: '1' })
    const id = await drop.submit(['no@example.org'])
    const victim = await drop.daemon([step])
    t.match(await victim.ended, { end: 'SIGKILL' })
    await drop.daemon()
    await waitFor('the notice', () => notices(server).length > 0)
    await settled(drop)
    t.strictSame(server.recipients(), ['sender@example.org'])
    t.match(await drop.queue(), [{ id, status: 'failed', recipients: [{ status: 'failed', notice: `${id}-n1` }] }])
    t.strictSame(namesIn(drop.spool, '.held'), [])
    t.strictSame(namesIn(drop.spool, '.state'), [])
  })
}

t.test('killed before the failure is on disk, and then accepted: nobody is told of anything', async t => {
  const { server, drop } = await place(t)
  await drop.submit(['no@example.org'])
  const victim = await drop.daemon(['notice-held'])
  t.match(await victim.ended, { end: 'SIGKILL' })
  t.equal(namesIn(drop.spool, '.held').length, 1)
  server.script = {}
  await drop.daemon()
  await settled(drop)
  t.strictSame(server.recipients(), ['no@example.org'])
  t.strictSame(namesIn(drop.spool, '.held'), [])
})

t.test('a notice that cannot be written holds up no other mail, and is made good later', async t => {
  const { server, drop } = await place(t, undefined, { MAILDROP_CONNECTIONS: '1' })
  await drop.daemon()
  await drop.submit(['first@example.org'])
  await drop.drained()
  const held = join(drop.spool, '.held')
  rmSync(held, { recursive: true })
  writeFileSync(held, 'a file in the place of the directory')
  const message = Buffer.from('Subject: x\r\n\r\nbody\r\n')
  const mail = (id: string, to: string) => formatMailFile({ id, from: 'sender@example.org', to: [to] }, message)
  await drop.drop('bad', mail('bad', 'no@example.org'))
  await waitFor('the complaint', () => drop.lines('notice-failed').length > 0)
  await drop.drop('good', mail('good', 'good@example.org'))
  await waitFor('the other mail', () => server.recipients().includes('good@example.org'))
  await waitFor('the deferral', () => namesIn(drop.spool, '.deferred').length > 0)
  const [bad] = (await drop.queue()).filter(({ id }) => id === 'bad')
  t.match(bad, { status: 'deferred', recipients: [{ status: 'failed' }] })
  renameSync(held, join(drop.home, 'away'))
  mkdirSync(held)
  makeDue(drop.spool)
  await waitFor('the notice', () => notices(server).length > 0)
  await settled(drop)
  t.equal(notices(server).length, 1)
  t.match(await drop.queue(), [{ id: 'bad', status: 'failed', attempts: 1 }])
})

t.test('a retry that fails again is told of again', async t => {
  const { server, drop } = await place(t)
  await drop.daemon()
  const id = await drop.submit(['no@example.org'])
  await settled(drop)
  await waitFor('the notice', () => notices(server).length === 1)
  await operate('retry', await findMail([drop.spool], id))
  await waitFor('the second notice', () => notices(server).length === 2)
  await settled(drop)
  t.equal(notices(server).length, 2)
})

t.test('a notice that nobody is going to release is removed at the next start, once it is old', async t => {
  const { drop } = await place(t)
  const long = 'x'.repeat(128)
  const file = formatMailFile({ id: 'a', from: '', to: ['ann@example.org'] }, Buffer.from('x'))
  for (const directory of ['.held', 'hold']) mkdirSync(join(drop.spool, directory), { recursive: true })
  for (const id of ['held', long]) writeFileSync(join(drop.spool, 'hold', id), file)
  const hashed = (id: string): string => createHash('sha256').update(id).digest('hex').slice(0, 40)
  const old = new Date(Date.now() - 7_200_000)
  const kept = ['of-an-application', 'held-n1', `${hashed(long)}-n1`, 'new-n1']
  for (const name of [...kept, 'gone-n1', 'gone-n12', `${hashed('y')}-n1`]) {
    writeFileSync(join(drop.spool, '.held', name), file)
    if (name !== 'new-n1') utimesSync(join(drop.spool, '.held', name), old, old)
  }
  await drop.daemon()
  t.strictSame(namesIn(drop.spool, '.held'), kept.sort())
})
