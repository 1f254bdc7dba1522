/** Whatever lies in the spool: what is mail is sent, what is not is put aside with its reason, once, and the neighbours flow. */
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { ensureSpool } from '../../maildrop/spool/layout.ts'
import { problemOfOwner, secureParts } from '../../maildrop/spool/owner.ts'
import { namesIn, SAMPLE, testMaildrop } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 2

const MAIL = '##From:sender@example.org\nSubject: x\n\nbody\n'
const to = (recipients: string): string => `##To:${recipients}\n${MAIL}`

/** What is put into the spool, as text or by a function that is given its path. */
type Drop = string | Uint8Array | ((path: string, t: Test) => unknown)

const binary = (text: string): Buffer => Buffer.from(text, 'latin1')

/** Each with the reason for which it is put aside. */
const UNFIT: Record<string, [Drop, RegExp]> = {
  'zero length': ['', /there is no ##To line at the top/],
  'no envelope': ['Subject: x\n\nbody\n', /there is no ##To line at the top/],
  'no ##To': [MAIL, /there is no ##To line at the top/],
  'no ##From': ['##To:eve@example.org\nSubject: x\n\nx\n', /there is no ##From line at the top/],
  'no message': ['##To:eve@example.org\n##From:\n', /no message follows the ## lines/],
  'cut in its envelope': ['##To:eve@exam', /the file ends within its ## lines/],
  'cut in its message': [
    formatMailFile({ id: 'l', from: '', to: ['eve@example.org'] }, Buffer.from('long')).subarray(0, -1),
    /the file is shorter than its ##Length promises/,
  ],
  'empty ##To': [to(''), /##To names no recipient/],
  '##To of commas': [to(', ,'), /##To names no recipient/],
  'no colon': [`##x\n${to('eve@example.org')}`, /"##x" has no key and colon/],
  'NUL in the envelope': [to('eve@example.org\0'), /not UTF-8, or contains a NUL/],
  'invalid UTF-8 in the envelope': [binary(to('eve\xff@example.org')), /not UTF-8, or contains a NUL/],
  'bare CR in the envelope': [to('eve@example.org\rRCPT TO:<mallory@example.org>'), /not UTF-8, or contains/],
  'folded ##To': [`##To:eve@example.org,\n  mallory@example.org\n${MAIL}`, /which cannot be folded/],
  'line separator in an address': [to('eve\u2028@example.org'), /a control character, a line break/],
  'blank in an address': [to('eve smith@example.org'), /expected local@domain/],
  'open group in ##To': [to('Team: eve@example.org, mallory@example.org'), /a group is not closed/],
  'open comment in ##To': [to('eve@example.org (Eve'), /a comment is not closed/],
  'empty group in ##To': [to('undisclosed-recipients:;'), /##To names no recipient/],
  'command in ##To': [to('eve@example.org> SIZE=1'), /expected local@domain/],
  'blanks in ##To': [to(`eve${' '.repeat(900_000)}@example.org`), /a…" cannot be used|expected local|longer than/],
  'too long an address': [to(`${'e'.repeat(320)}@example.org`), /longer than 320 bytes/],
  'two senders': ['##To:eve@example.org\n##From:a@example.org,b@example.org\n\nx\n', /more than one sender/],
  'two envelopes': [`##To:eve@example.org\n##From:\n${SAMPLE}`, /there are two ##to lines/],
  'endless envelope': [`##To:${'eve@example.org,'.repeat(100_000)}`, /take more than 1048576 bytes/],
  'wrong length': [`##Length:1\n${to('eve@example.org')}`, /longer than its ##Length promises/],
  nonsense: [new Uint8Array(3 * 1024 * 1024).map((_, i) => i * 7), /there is no ##To line/],
  'link to mail': [
    path => {
      writeFileSync(join(path, '..', '..', 'secret'), to('eve@example.org'))
      symlinkSync(join(path, '..', '..', 'secret'), path)
    },
    /symbolic link/,
  ],
  'link to nothing': [path => symlinkSync('nowhere', path), /symbolic link/],
  'link to itself': [path => symlinkSync('link-to-itself', path), /symbolic link/],
  'link to something endless': [path => symlinkSync('/dev/zero', path), /symbolic link/],
  directory: [
    path => {
      mkdirSync(path)
      writeFileSync(join(path, 'inside'), to('eve@example.org'))
    },
    /it is a directory, and mail is a file/,
  ],
  ...(process.getuid?.() === 0 && {
    'somebody else owns it': [
      (path: string) => {
        writeFileSync(path, to('eve@example.org'))
        chownSync(path, 54321, 54321)
      },
      /it belongs to user 54321, the daemon runs as user 0/,
    ] satisfies [Drop, RegExp],
  }),
  FIFO: [path => execFileSync('mkfifo', [path]), /not a regular file/],
  socket: [
    async (path, t) => {
      const server = createServer().listen(path)
      t.teardown(() => server.close())
      await new Promise(resolve => server.once('listening', resolve))
    },
    /not a regular file/,
  ],
}

/** Each with the recipients who get it. */
const FIT: Record<string, [Drop, string[]]> = {
  CRLF: [to('crlf@example.org').replaceAll('\n', '\r\n'), ['crlf@example.org']],
  duplicates: [to('dup@example.org, <dup@example.org>,"D" <dup@example.org>'), ['dup@example.org']],
  groups: [
    to('Team: g1@example.org, "G" <g2@example.org>;, g3@example.org'),
    ['g1@example.org', 'g2@example.org', 'g3@example.org'],
  ],
  comments: [
    to('c1@example.org (C (one), <eve@example.org>), (two)c2@example.org'),
    ['c1@example.org', 'c2@example.org'],
  ],
  'names and quotes': [to('"N, N" <n1@example.org>,"n 2"@example.org'), ['n1@example.org', '"n 2"@example.org']],
  Bcc: [
    `##To:b1@example.org,b2@example.org\n##From:\nBcc: b2@example.org\nSubject: x\n\nx\n`,
    ['b1@example.org', 'b2@example.org'],
  ],
  'body like an envelope': [
    `${to('good@example.org').replace('body', '')}##To:eve@example.org\n`,
    ['good@example.org'],
  ],
  'message of ## lines': [
    formatMailFile({ id: 'm', from: '', to: ['hash@example.org'] }, Buffer.from('##To:eve@example.org\n\nx')),
    ['hash@example.org'],
  ],
  '-rf *;$(x)': [to('shell@example.org'), ['shell@example.org']],
  'two\nlines': [to('lines@example.org'), ['lines@example.org']],
  'x.sent3': [to('sent3@example.org'), ['sent3@example.org']],
  'x.json': [to('json@example.org'), ['json@example.org']],
  '\u00fcml\u00e4ut \ufffd': [to('umlaut@example.org'), ['umlaut@example.org']],
  [`n${'n'.repeat(254)}`]: [to('long@example.org'), ['long@example.org']],
}

t.test('each file that is none is put aside once, with its reason, and each that is mail is sent once', async t => {
  const server = await startSmtpScript({ extensions: ['PIPELINING', '8BITMIME', 'SMTPUTF8'] })
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, { MAILDROP_CONNECTIONS: '1', MAILDROP_INTERVAL: '1' })
  mkdirSync(join(drop.spool, 'lost+found'), { recursive: true })
  const put = async (name: string, what: Drop): Promise<void> => {
    if (typeof what === 'function') await what(join(drop.spool, name), t)
    else await drop.drop(name, what)
  }
  const fileName = (title: string): string => title.replace(/[ #]+/g, '-')
  for (const [title, [what]] of Object.entries(UNFIT)) await put(fileName(title), what)
  for (const [name, [what]] of Object.entries(FIT)) await put(name, what)
  renameInvalid(drop.spool, to('bytes@example.org'))
  const daemon = await drop.daemon()
  // Once more, while the daemon watches.
  renameInvalid(drop.spool, to('bytes2@example.org'))
  await drop.submit(['last@example.org'])
  const expected = [...Object.values(FIT).flatMap(([, recipients]) => recipients), 'last@example.org']
  expected.push('bytes@example.org', 'bytes2@example.org')
  await waitFor('the good messages', () => server.recipients().length >= expected.length)
  const count = Object.keys(UNFIT).length
  await waitFor('the reasons', () => namesIn(drop.spool, 'failed').length >= 2 * count)
  await drop.drained()
  t.strictSame(server.recipients(), expected.sort())
  t.notMatch(server.messages.map(({ data }) => data).join(''), /^Bcc:/im)
  t.notMatch(server.commands.join('\n'), /eve|mallory/)
  t.strictSame(server.violations, [])

  const failed = await drop.queue()
  t.equal(failed.length, count)
  for (const [title, [, reason]] of Object.entries(UNFIT)) {
    const lines = drop.lines('unfit').filter(line => line.includes(` name=${fileName(title)} `))
    t.equal(lines.length, 1, `${title}: said once`)
    const id = / id=(\S+)/.exec(lines[0] ?? '')?.[1]
    t.match(failed.find(mail => mail.id === id)?.problem, reason, title)
  }
  const left = namesIn(drop.spool).filter(name => !name.startsWith('.'))
  t.strictSame(left, ['failed', 'lost+found'])
  const directory = failed.find(({ problem }) => problem?.includes('it is a directory'))
  t.strictSame(namesIn(drop.spool, 'failed', directory?.id ?? ''), ['inside'], 'what is in a directory stays in it')
  t.match(readFileSync(join(drop.home, 'secret'), 'utf8'), /eve/, 'a link is put aside, not followed')
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0, stderr: '' })
})

/** A file whose name is no UTF-8. */
function renameInvalid(spool: string, content: string): void {
  writeFileSync(join(spool, '..', 'draft'), content)
  renameSync(join(spool, '..', 'draft'), Buffer.concat([Buffer.from(join(spool, '/')), binary('caf\xe9')]))
}

t.test("a .lck that a dead writer left holds its file back, is said once, and is nobody else's trouble", async t => {
  const server = await startSmtpScript()
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, { MAILDROP_INTERVAL: '0.2' })
  mkdirSync(drop.spool, { recursive: true })
  const lock = join(drop.spool, 'left.lck')
  writeFileSync(lock, '')
  utimesSync(lock, new Date(Date.now() - 7_200_000), new Date(Date.now() - 7_200_000))
  writeFileSync(join(drop.spool, 'left'), to('left@example.org'))
  await drop.daemon()
  await waitFor('the complaint', () => drop.lines('locked').length > 0)
  for (const name of ['ann', 'bob']) {
    writeFileSync(join(drop.spool, name), to(`${name}@example.org`))
    await waitFor('other mail', () => server.recipients().includes(`${name}@example.org`))
  }
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
  t.match(drop.lines('locked'), [/name=left$/])
  t.equal(drop.lines('locked').length, 1)
  unlinkSync(lock)
  await waitFor('the message', () => server.recipients().includes('left@example.org'))
})

t.test('a shared spool takes files of its group only, and only where nobody can remove those of others', async t => {
  const { spool } = testMaildrop(t, 25)
  await ensureSpool(spool)
  const { gid } = statSync(spool)
  const stranger = { owner: 54321, group: gid, links: 1 }
  const problem = (mode: number, shared = true, change: Partial<typeof stranger> = {}): string | undefined => {
    chmodSync(spool, mode)
    return problemOfOwner(spool, { ...stranger, ...change }, shared)
  }
  t.equal(problem(0o1770), undefined)
  t.match(problem(0o1770, false), /it belongs to user 54321/, 'nothing is shared unasked')
  for (const mode of [0o1700, 0o1750, 0o770, 0o1772, 0o1777])
    t.match(problem(mode), /it belongs to user 54321/, mode.toString(8))
  t.match(problem(0o1770, true, { group: gid + 1 }), `has to belong to group ${gid}, and belongs to group ${gid + 1}`)
  t.match(problem(0o1770, true, { links: 2 }), /hard links/)
  t.match(problem(0o1770, true, { owner: 0, links: 2 }), /hard links/, 'root too')
  t.equal(problem(0o1770, true, { owner: 0, group: gid + 1 }), undefined)
  t.equal(problem(0o1770, true, { owner: process.geteuid?.() ?? 0, group: gid + 1 }), undefined)
})

t.test('a shared spool of which somebody else has made a part is refused', async t => {
  const { spool } = testMaildrop(t, 25)
  await ensureSpool(spool)
  secureParts(spool)
  t.ok(existsSync(join(spool, 'hold')), 'what is needed later is made at once')
  symlinkSync('/tmp', join(spool, '.untold'))
  const refused = {
    code: 'SPOOL_DENIED',
    message: /\/\.untold is a part of the spool, and it is no directory; move it away/,
  }
  t.throws(() => secureParts(spool), refused)
})

t.test(
  'mail of a member of the group is sent where the spool is shared',
  needs(process.getuid?.() === 0 ? undefined : 'only root can be another user'),
  async t => {
    const server = await startSmtpScript()
    t.teardown(() => server.close())
    const drop = testMaildrop(t, server.port, { MAILDROP_GROUP: '1' })
    await ensureSpool(drop.spool)
    chownSync(drop.spool, 0, 54_321)
    chmodSync(drop.spool, 0o3770)
    const daemon = await drop.daemon()
    const put = async (to: string, group: number): Promise<void> => {
      writeFileSync(join(drop.home, 'draft'), `##To:${to}\n${MAIL}`, { mode: 0o640 })
      chownSync(join(drop.home, 'draft'), 54_322, group)
      renameSync(join(drop.home, 'draft'), join(drop.spool, to))
    }
    await put('stranger@example.org', 54_323)
    await put('member@example.org', 54_321)
    await waitFor('both', () => server.messages.length === 1 && drop.lines('unfit').length === 1)
    t.match(server.messages, [{ to: ['member@example.org'] }])
    t.match(
      drop.lines('unfit')[0],
      /name=stranger@example\.org .*it has to belong to group 54321, and belongs to group 54323/,
    )
    daemon.process.kill('SIGTERM')
    t.match(await daemon.ended, { end: 0, stderr: '' })
  },
)
