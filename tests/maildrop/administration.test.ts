/** maildropctl queue, show, retry, hold, release and delete: the same truth with and without a daemon. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseDuration } from '../../maildrop/duration.ts'
import { selectMail } from '../../maildrop/spool/filter.ts'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { ensureSpool } from '../../maildrop/spool/layout.ts'
import { listSpool } from '../../maildrop/spool/listing.ts'
import { submit } from '../../maildrop/spool/write.ts'
import { failsWith, setUp } from '../support/launchers.ts'
import { namesIn, SAMPLE } from '../support/maildrop.ts'
import { TOP } from '../support/program.ts'
import { hasProgram, terminal } from '../support/terminal.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

const MESSAGE = 'From: s@example.org\r\nSubject: hello\r\n\r\nHello,\u001b[31m world.\r\n'

/** A spool with one deferred, one failed and two waiting messages, and no daemon. */
async function setUpQueue(t: Test) {
  let refuse = true
  const drop = await setUp(t, {
    rcpt: to =>
      !refuse
        ? undefined
        : to.startsWith('no')
          ? '550 5.1.1 no such user'
          : to.startsWith('later')
            ? '450 later'
            : undefined,
  })
  const send = async (to: string, from = 'sender@example.org'): Promise<string> => {
    const id = newMailId()
    await submit(drop.spool, id, formatMailFile({ id, from, to: to.split(' ') }, Buffer.from(MESSAGE)))
    return id
  }
  const ctl = (...args: string[]) => drop.run('maildropctl', args)
  const deferred = await send('later@example.org')
  const failed = await send('no@example.net', '')
  t.match(await ctl('drain'), { end: 1 })
  const waiting = await send('ann@example.org bob@example.org', 'Shop@Example.COM')
  const other = await send('cid@example.org')
  const states = async (): Promise<Record<string, string>> =>
    Object.fromEntries((await listSpool(drop.spool)).map(({ id, status }) => [id, status]))
  return { ...drop, ctl, ids: { deferred, failed, waiting, other }, states, accept: () => (refuse = false) }
}

t.test('queue lists what the filters choose, for people and for programs', async t => {
  const { ctl, ids } = await setUpQueue(t)
  const { deferred, failed, waiting, other } = ids
  const cases: [string[], string[]][] = [
    [[], [waiting, other, deferred, failed]],
    [['--state', 'deferred'], [deferred]],
    [
      ['--state', 'deferred,failed'],
      [deferred, failed],
    ],
    [['--state', 'active'], []],
    [['--from', 'shop@example.com'], [waiting]],
    [
      ['--from', 'example.org'],
      [other, deferred],
    ],
    [['--from', '*.com'], [waiting]],
    [['--from', '<>'], [failed]],
    [['--to', 'BOB@'], [waiting]],
    [['--to', '*@example.net'], [failed]],
    [
      ['--to', 'example'],
      [waiting, other, deferred, failed],
    ],
    [['--to', 'example*'], []],
    [['--id', deferred], [deferred]],
    [['--id', `${deferred.slice(0, 16)}*`, '--state', 'deferred'], [deferred]],
    [['--older', '1h'], []],
    [['--younger', '1h', '--state', 'failed'], [failed]],
    [
      ['--limit', '2'],
      [waiting, other],
    ],
  ]
  const lines = (await ctl('queue')).stdout.split('\n')
  for (const [filter, expected] of cases) {
    const [{ end, stdout, stderr }, { stdout: table }] = await Promise.all([
      ctl('queue', '--json', ...filter),
      ctl('queue', ...filter),
    ])
    t.strictSame({ end, stderr }, { end: 0, stderr: '' }, filter.join(' '))
    t.strictSame(
      (JSON.parse(stdout) as { id: string }[]).map(({ id }) => id),
      expected,
      filter.join(' '),
    )
    for (const id of Object.values(ids))
      t.equal(table.includes(id), expected.includes(id), `${filter.join(' ')}\n${table}`)
  }
  t.match(lines[0], /^id +state +age +size +tries +next +sender$/)
  t.match(lines[1], new RegExp(`^${waiting} +waiting +\\d+s +\\d+ +0 +Shop@Example.COM$`))
  t.strictSame(lines.slice(2, 4), ['    ann@example.org (waiting)', '    bob@example.org (waiting)'])
  t.match(lines.join('\n'), /\n {4}later@example.org \(waiting: 450 later \(rcpt\)\)\n/)
  t.match(lines.join('\n'), /\n {4}no@example.net \(failed: 550 5.1.1 no such user \(rcpt\)\)\n4 messages\n$/)
  t.match((await ctl('queue', '--limit', '1')).stdout, /\nthe first 1 message; there are more: --limit 0 shows all\n$/)
  t.match((await ctl('queue', '--state', 'held')).stdout, /^no message in .* is like that\n$/)
  for (const [wrong, message] of [
    [['--state', 'lost'], /--state: lost: expected some of active, waiting/],
    [['--older', 'soon'], /--older: expected a time such as 90s/],
    [['--limit', '-1'], /--limit: expected a whole number/],
  ] as const)
    failsWith(t, await ctl('queue', ...wrong), 2, message)
})

t.test('show prints envelope, state, headers and history; the body or the raw file if asked', async t => {
  const { ctl, ids, spool, logFile } = await setUpQueue(t)
  const { stdout } = await ctl('show', ids.deferred)
  t.match(stdout, new RegExp(`^id        ${ids.deferred}\nstate     deferred, next attempt 2`))
  t.match(
    stdout,
    /\nsender {4}sender@example.org\nrecipients\n {2}later@example.org {2}waiting {2}2.*Z {2}450 later \(rcpt\)\n/,
  )
  t.match(stdout, /\nhistory\n {2}2\S+Z defer-recipient id=.* text=later attempt=1 delay=/)
  t.match(stdout, /\n\nFrom: s@example.org\nSubject: hello\n$/)
  t.match(await ctl('show', ids.failed), { stdout: /\nsender {4}<>\n.*\n {2}no@example.net {2}failed/s })
  const body = (await ctl('show', '--body', ids.deferred)).stdout
  t.ok(body.includes('\nSubject: hello\n\nHello,?[31m world.\n'), body)
  const raw = (await ctl('show', '--raw', ids.waiting)).stdout
  t.equal(raw, readFileSync(join(spool, ids.waiting), 'utf8'))
  const json = JSON.parse((await ctl('show', '--json', ids.deferred)).stdout)
  t.match(json, {
    id: ids.deferred,
    status: 'deferred',
    headers: ['From: s@example.org', 'Subject: hello'],
    attempts: 1,
  })
  t.equal(
    json.history.length,
    readFileSync(logFile, 'utf8')
      .split('\n')
      .filter(line => line.includes(ids.deferred)).length,
  )

  failsWith(t, await ctl('show', 'nothing'), 1, /message "nothing" is not in .*; maildropctl queue lists ids/)
  failsWith(
    t,
    await ctl('show', ids.failed.slice(0, 3)),
    1,
    /messages are called .* or begin so: .*; write more of the id/,
  )
  failsWith(t, await ctl('show'), 2, /an id is missing/)
  failsWith(t, await ctl('show', '--raw', '--json', ids.failed), 2, /do not go together/)
})

t.test('show follows no link that was put into the spool, and no name of a file controls the terminal', async t => {
  const { ctl, spool, cwd } = await setUpQueue(t)
  const secret = join(cwd, 'secret')
  writeFileSync(secret, '##To:a@example.org\n##From:\nSubject: hunter2\n\nhunter2\n')
  symlinkSync(secret, join(spool, 'link'))
  for (const option of ['--body', '--raw', '--json']) t.notMatch((await ctl('show', option, 'link')).stdout, 'hunter2')
  failsWith(t, await ctl('show', '--raw', 'link'), 1, /link is no mail file/)
  t.match(await ctl('show', 'link'), { end: 0, stdout: /\nproblem {3}it is a symbolic link\n/ })
  symlinkSync(secret, join(spool, 'evil\u001b[31m\nmaildropctl: done'))
  failsWith(t, await ctl('show', '--raw', 'evil'), 1, /evil\?\[31m maildropctl: done is no mail file/)
})

t.test('hold, release, retry and delete by id and by filter, with and without a daemon', async t => {
  for (const daemon of [false, true]) {
    const { ctl, ids, spool, states, accept, server } = await setUpQueue(t)
    const { deferred, failed, waiting, other } = ids
    t.match(await ctl('hold', waiting, '--dry-run'), {
      end: 0,
      stdout: /\n1 message would be held; nothing was changed\n$/,
    })
    t.match(await ctl('hold', waiting, other.slice(0, -1), failed), {
      end: 1,
      stdout: '2 messages held\n',
      stderr: /^maildropctl: message .* is failed: it is not going to be sent; retry or delete it\n$/,
    })
    writeFileSync(join(spool, 'dropped'), SAMPLE)
    t.match(await ctl('hold', 'dropped'), { end: 0, stdout: /^dropped is now 0\S+\n1 message held\n$/ })
    const [dropped] = Object.keys(await states()).filter(id => ![waiting, other, deferred, failed].includes(id))
    t.match(JSON.parse((await ctl('delete', dropped ?? '', '--json')).stdout), { delete: [dropped] })
    t.match(await states(), { [waiting]: 'held', [other]: 'held', [deferred]: 'deferred', [failed]: 'failed' })
    if (daemon) t.match(await ctl('start'), { end: 0 })
    t.match(await ctl('delete', '--from', 'nobody', '--yes'), { end: 0, stdout: '0 messages deleted\n' })
    const removed = JSON.parse((await ctl('delete', '--state', 'held', '--to', 'cid', '--json')).stdout)
    t.strictSame(removed, { delete: [other], failed: [] })
    accept()
    t.match(await ctl('retry', '--to', 'example'), { end: 0, stdout: '2 messages due now\n' })
    t.match(await ctl('release', '--state', 'held'), { end: 0, stdout: '1 message released\n' })
    t.match(await ctl('drain'), { end: 0, stdout: 'nothing is left to deliver\n' })
    t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org', 'later@example.org', 'no@example.net'])
    t.strictSame(await states(), {})
  }
})

t.test('nothing is done without ids or a filter, or to what does not exist', async t => {
  const { ctl, ids, states } = await setUpQueue(t)
  const before = await states()
  for (const what of ['retry', 'hold', 'release', 'delete']) {
    failsWith(t, await ctl(what), 2, /name messages by their ids, or choose them/)
    failsWith(t, await ctl(what, ids.other, '--state', 'failed'), 2, /ids and a filter do not go together/)
    failsWith(t, await ctl(what, 'nothing'), 1, /message "nothing" is not in/)
    t.match(await ctl(what, 'nothing', '--json'), { end: 1, stdout: /"code": "MAIL_NOT_FOUND"/ })
  }
  t.match(await ctl('release', ids.failed, '--dry-run'), {
    end: 1,
    stderr: /is failed, where release is not possible\n$/,
  })
  t.match(await ctl('delete', '--to', 'example', '--dry-run'), {
    end: 0,
    stdout: /\n4 messages would be deleted; nothing was/,
  })
  t.strictSame(await states(), before)
})

t.test('a pattern takes no long time, whatever it is', async t => {
  const { spool } = await setUp(t)
  await ensureSpool(spool)
  const id = newMailId()
  const from = `${'a'.repeat(60)}@example.org`
  await submit(spool, id, formatMailFile({ id, from, to: [`${'b'.repeat(60)}@example.org`] }, Buffer.from(MESSAGE)))
  const found = async (pattern: string): Promise<boolean> => {
    for await (const _ of selectMail([spool], { from: pattern })) return true
    return false
  }
  for (const [pattern, expected] of [
    [`${'*a'.repeat(60)}*`, true],
    [`${'*a'.repeat(62)}*`, false],
    [`${'a*'.repeat(60)}z`, false],
    ['*', true],
    ['?*', true],
    ['*@*.org', true],
    [`${'?'.repeat(72)}`, true],
    [`${'?'.repeat(73)}`, false],
    ['a*a@example.org', true],
    ['a*@example.orgx', false],
  ] as const)
    t.equal(await found(pattern), expected, pattern)
  const durations = { '90': 90, '90s': 90, '30m': 1800, '12h': 43_200, '5d': 432_000, '2d 12h': 216_000, '1h30m': 5400 }
  for (const [text, seconds] of Object.entries(durations)) t.equal(parseDuration(text), seconds, text)
  for (const text of ['', ' ', 'x', '1x', '-1', '1.5h', 'h']) t.equal(parseDuration(text), undefined, text)
})

t.test('a large queue is listed while it is read, and stops when nobody reads', async t => {
  const { spool, run, begin } = await setUp(t)
  await ensureSpool(spool)
  mkdirSync(join(spool, '.deferred'), { recursive: true })
  const file = formatMailFile({ id: 'a', from: '', to: ['ann@example.org'] }, Buffer.from(MESSAGE))
  for (let i = 0; i < 3000; i++)
    writeFileSync(join(spool, '.deferred', `4000000000.m${String(i).padStart(5, '0')}`), file)
  const table = (await run('maildropctl', ['queue'])).stdout
  t.equal(table.match(/^m\d{5} /gm)?.length, 200)
  t.match(table, /\nthe first 200 messages; there are more: --limit 0 shows all\n$/)
  t.equal((JSON.parse((await run('maildropctl', ['queue', '--json'])).stdout) as unknown[]).length, 3000)
  const reader = begin('maildropctl', ['queue', '--json'])
  await waitFor('the first message', () => reader.output().includes('m00000'))
  reader.process.stdout?.destroy()
  t.match(await reader.ended, { end: 0, stderr: '' })
  t.equal(readdirSync(join(spool, '.deferred')).length, 3000)
  t.match(await run('maildropctl', ['delete', '--id', 'm0*']), { end: 0, stdout: '3,000 messages deleted\n' })
  t.strictSame(namesIn(spool, '.deferred'), [])
  t.ok(existsSync(spool) && statSync(spool).isDirectory())
})

t.test(
  'on a terminal delete asks, and whoever says nothing, or no, keeps the messages',
  { skip: hasProgram('script') ? false : 'there is no script (util-linux) here' },
  async t => {
    const { cwd, ids, spool } = await setUpQueue(t)
    const line = `${join(TOP, 'maildrop/bin/maildropctl')} delete ${ids.waiting}`
    for (const [keys, code] of [
      ['n\n', 1],
      ['\u0004', 1],
      ['yes\n', 0],
    ] as const) {
      const { shows, type, ended } = terminal(t, line, { cwd })
      await shows(/delete 1 message for good\? \[y\/N\] $/)
      t.ok(existsSync(join(spool, ids.waiting)))
      type(keys)
      await shows(code === 0 ? /1 message deleted\n/ : /maildropctl: nothing was deleted\n/)
      t.equal(await ended, code)
    }
    t.notOk(existsSync(join(spool, ids.waiting)))
  },
)
