/** How mail gets in: by rename, with a .lck beside it, written in place; at once, or with the next scan. */
import {
  appendFileSync,
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { openIntake } from '../../maildrop/daemon/intake.ts'
import type { Log } from '../../maildrop/daemon/log.ts'
import { launchProgram } from '../support/children.ts'
import { makeDue, namesIn, SAMPLE, testMaildrop, whileFrozen } from '../support/maildrop.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 4

/** A mail file to one recipient, the body in several pieces. */
const mailTo = (to: string, ...pieces: string[]): string =>
  [`##To:${to}\n##From:sender@example.org\nSubject: pieces\n\n`, ...pieces].join('')

async function setUp(t: Test, env: Record<string, string> = {}) {
  const arrivals = new Map<string, number>()
  const server = await startSmtpScript({ rcpt: to => void arrivals.set(to, performance.now()) })
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, env)
  mkdirSync(drop.spool, { recursive: true })
  const bodyOf = (to: string): string | undefined =>
    server.messages.find(message => message.to.includes(to))?.data.split('\r\n\r\n')[1]
  /** Resolves when a file that is written now has been sent, which takes longer than one that was written before. */
  let markers = 0
  const laterMailIsSent = async (): Promise<void> => {
    const to = `marker${markers++}@example.org`
    writeFileSync(join(drop.spool, to), mailTo(to, 'x'))
    await waitFor(`mail that was written later`, () => bodyOf(to) !== undefined)
  }
  return { server, drop, arrivals, bodyOf, laterMailIsSent }
}

/**
 * Writes a file in pieces, which the machine may keep from coming in time; then once more, to somebody else.
 * @param limit milliseconds between two pieces
 * @param write writes mail to an address, and calls `pause` before each piece but the first
 * @returns whom it was written to in time
 */
async function within(limit: number, write: (to: string, pause: () => void) => Promise<void>): Promise<string> {
  for (let turn = 0; ; turn++) {
    const to = `slow${turn}@example.org`
    let last = performance.now()
    let longest = 0
    const pause = (): void => {
      longest = Math.max(longest, performance.now() - last)
      last = performance.now()
    }
    await write(to, pause)
    pause()
    if (longest < limit) return to
    if (turn === 20) throw new Error(`the machine is too slow for this test: ${longest} ms between two pieces`)
  }
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!
}

t.test('mail is picked up in a fraction of a second after its rename', async t => {
  const { drop, arrivals } = await setUp(t)
  await drop.daemon()
  for (const kind of ['submitted', 'dropped']) {
    const delays: number[] = []
    for (let i = 0; i < 15; i++) {
      const to = `${kind}${i}@example.org`
      const before = performance.now()
      if (kind === 'submitted') await drop.submit([to])
      else await drop.drop(to, mailTo(to, 'body'))
      const arrived = await waitFor('the message', () => arrivals.get(to))
      delays.push(arrived - before)
      await drop.drained()
    }
    const found = median(delays)
    t.comment(`${kind}: median ${found.toFixed(1)} ms from its writing to RCPT`)
    t.ok(found < 10_000, `${kind}: ${found.toFixed(1)} ms, long before a scan`)
  }
})

t.test('a file is not touched while its .lck stands, and is sent whole when that is gone', async t => {
  const { drop, bodyOf, laterMailIsSent } = await setUp(t)
  await drop.daemon()
  const file = join(drop.spool, 'locked')
  writeFileSync(`${file}.lck`, '')
  writeFileSync(file, mailTo('ann@example.org', 'one\n'))
  await laterMailIsSent()
  t.match(
    (await drop.queue()).find(({ id }) => id === 'locked'),
    { status: 'waiting', problem: 'locked.lck stands beside it' },
  )
  t.equal(bodyOf('ann@example.org'), undefined)
  appendFileSync(file, 'two\n')
  unlinkSync(`${file}.lck`)
  await waitFor('the message', () => bodyOf('ann@example.org'))
  t.equal(bodyOf('ann@example.org'), 'one\r\ntwo\r\n')
})

t.test('a program that appends in place, opening the file every time, is waited for', async t => {
  const { drop, server, bodyOf } = await setUp(t)
  await drop.daemon()
  const lines = Array.from({ length: 12 }, (_, i) => `line ${i}\n`)
  const to = await within(900, async (to, pause) => {
    const file = join(drop.spool, to)
    writeFileSync(file, mailTo(to))
    for (const line of lines) {
      pause()
      appendFileSync(file, line)
      await sleep(150)
    }
  })
  await waitFor('the message', () => bodyOf(to))
  t.equal(bodyOf(to), lines.join('').replaceAll('\n', '\r\n'))
  await drop.drained()
  t.equal(server.recipients().filter(each => each === to).length, 1)
})

t.test('a program that writes in place and pauses is waited for while it holds the file open', async t => {
  const { drop, bodyOf, laterMailIsSent } = await setUp(t)
  await drop.daemon()
  const fd = openSync(join(drop.spool, 'slow'), 'w')
  writeSync(fd, '##To:ann@example.org\n##From:\nSubject: pieces\n\none\n')
  await laterMailIsSent()
  t.equal(bodyOf('ann@example.org'), undefined)
  writeSync(fd, 'two\n')
  closeSync(fd)
  await waitFor('the message', () => bodyOf('ann@example.org'))
  t.equal(bodyOf('ann@example.org'), 'one\r\ntwo\r\n')
})

t.test(
  'a program that writes in place and is silent for long is waited for as long as it holds the file open',
  async t => {
    const spool = t.testdir({ '.deferred': {} })
    const said: unknown[] = []
    const log = { line: (event: string, fields: object) => said.push([event, fields]) } as unknown as Log
    const intake = openIntake(spool, log, () => undefined, undefined, {
      arrived: 1,
      written: 10,
      incomplete: 20,
      open: 30,
    })
    t.teardown(() => intake.close())
    launchProgram(
      t,
      'sh',
      [
        '-c',
        'exec 3>slow; printf "$0" >&3; until [ -e .go ]; do sleep 0.05; done; printf "two\\n" >&3',
        mailTo('ann@example.org', 'one\n'),
      ],
      { cwd: spool },
    )
    const look = async () => {
      await intake.tick()
      return await intake.next()
    }
    await waitFor('the complaint', async () => {
      t.equal(await look(), undefined)
      return said.length > 0
    })
    t.strictSame(said, [['open', { spool, name: 'slow' }]])
    for (let i = 0; i < 5; i++) t.equal(await look(), undefined)
    writeFileSync(join(spool, '.go'), '')
    const found = await waitFor('the file', look)
    t.ok(found.content.kind === 'mail' && found.content.mail.bytes.toString().endsWith('one\ntwo\n'))
    intake.leave(found, new Error('the test is over'))
  },
)

t.test('what has been put back is there at once, also if it had to be waited for', async t => {
  const spool = t.testdir({ '.deferred': {} })
  const never = 600_000
  const settle = { arrived: 1, written: never, incomplete: never, open: never }
  const intake = openIntake(spool, { line: () => undefined } as unknown as Log, () => undefined, undefined, settle)
  t.teardown(() => intake.close())
  writeFileSync(join(spool, '.new'), mailTo('ann@example.org', 'body\n'))
  renameSync(join(spool, '.new'), join(spool, 'new'))
  let found = await waitFor('the file', async () => {
    await intake.tick()
    return await intake.next()
  })
  for (let i = 0; i < 2; i++) {
    intake.putBack(found)
    t.equal(intake.backlog, 1)
    const again = await intake.next()
    t.match(again, { name: 'new' })
    if (again === undefined) return
    found = again
  }
  intake.leave(found, new Error('the test is over'))
})

t.test('an envelope that is written slowly is waited for too', async t => {
  const { drop, bodyOf, laterMailIsSent } = await setUp(t)
  await drop.daemon()
  const to = await within(9000, async (to, pause) => {
    const file = join(drop.spool, to)
    writeFileSync(file, `##To:${to.slice(0, -7)}`)
    await laterMailIsSent()
    pause()
    appendFileSync(file, `${to.slice(-7)}\n##From:\nSubject: pieces\n\nbody\n`)
  })
  await waitFor('the message', () => bodyOf(to))
  t.equal(bodyOf(to), 'body\r\n')
  t.notMatch(drop.lines('unfit').join('\n'), `name=${to}`)
})

t.test('one name can be used again and again', async t => {
  const { drop, server } = await setUp(t)
  await drop.daemon()
  for (let i = 0; i < 5; i++) {
    await drop.drop('mail', mailTo(`r${i}@example.org`, 'x'))
    await waitFor('the message', () => server.messages.length === i + 1)
  }
  t.strictSame(
    server.recipients(),
    [0, 1, 2, 3, 4].map(i => `r${i}@example.org`),
  )
})

t.test('dot-files and .lck files are never mail', async t => {
  const { drop, server, laterMailIsSent } = await setUp(t, { MAILDROP_INTERVAL: '0.2' })
  for (const name of ['.hidden', '.mail.swp', 'mail.lck']) writeFileSync(join(drop.spool, name), SAMPLE)
  await drop.daemon()
  await drop.drop('.later', SAMPLE)
  await laterMailIsSent()
  t.equal(server.messages.length, 1)
  for (const name of ['.hidden', '.mail.swp', '.later', 'mail.lck'])
    t.ok(namesIn(drop.spool).includes(name), `${name} is still there`)
  t.strictSame(namesIn(drop.spool, 'failed'), [])
})

t.test('without notification, mail is found by the scan', async t => {
  const { drop, bodyOf } = await setUp(t, { MAILDROP_INTERVAL: '0.3' })
  const deaf = `import fs from 'node:fs'; import { syncBuiltinESMExports } from 'node:module'
    fs.watch = () => { throw new Error('no watches left') }; syncBuiltinESMExports()`
  await drop.daemon([], { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(deaf)}` })
  t.match(drop.lines('watch-failed')[0], /text="no watches left; scanning only"/)
  await drop.drop('mail', mailTo('ann@example.org', 'dropped'))
  await drop.submit(['bob@example.org'])
  await waitFor('both messages', () => bodyOf('ann@example.org') && bodyOf('bob@example.org'))
  t.pass('both were sent')
})

t.test('mail that was there before the start is sent', async t => {
  const { drop, server } = await setUp(t)
  await drop.submit(['ann@example.org'])
  await drop.drop('mail', mailTo('bob@example.org', 'x'))
  await drop.daemon()
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
})

t.test('several spools are served, reached through a link too', async t => {
  const { drop, server } = await setUp(t)
  const [second, third] = [join(drop.home, 'second'), join(drop.home, 'third')]
  mkdirSync(join(drop.home, 'real'))
  symlinkSync('real', third)
  await drop.daemon([], { MAILDROP_SPOOL: `${drop.spool};${second};${third}` })
  await drop.submit(['ann@example.org'])
  writeFileSync(join(second, 'mail'), mailTo('bob@example.org', 'x'))
  writeFileSync(join(third, 'mail'), mailTo('eve@example.org', 'x'))
  await waitFor('all messages', () => server.messages.length === 3)
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org', 'eve@example.org'])
})

t.test('parts of the spool that are removed while the daemon runs are made again', async t => {
  const { drop, server } = await setUp(t)
  server.script = {
    rcpt: to => (to.startsWith('no') ? '550 no' : to.startsWith('later') ? '450 later' : undefined),
  }
  const daemon = await drop.daemon([], { MAILDROP_INTERVAL: '86400' })
  await whileFrozen(daemon, () => {
    for (const part of ['failed', '.state', '.deferred', '.held']) rmSync(join(drop.spool, part), { recursive: true })
  })
  const failed = await drop.submit(['no@example.org'])
  const mixed = await drop.submit(['no@example.org', 'later@example.org', 'ann@example.org'])
  await waitFor('the failure', () => namesIn(drop.spool, 'failed').includes(failed))
  await waitFor('the deferral', () => namesIn(drop.spool, '.deferred').length === 1)
  t.strictSame(namesIn(drop.spool, '.state'), [mixed])
  server.script = {}
  makeDue(drop.spool)
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'later@example.org'])
  t.strictSame([drop.lines('claims-lost'), drop.lines('record-failed')], [[], []])
})

t.test('a spool that is removed and made again is served again, and the other one all the time', async t => {
  const { drop, server } = await setUp(t)
  const other = join(drop.home, 'other')
  const daemon = await drop.daemon([], { MAILDROP_SPOOL: `${drop.spool};${other}` })
  await whileFrozen(daemon, () => {
    rmSync(drop.spool, { recursive: true })
    writeFileSync(drop.spool, 'in the way')
  })
  writeFileSync(join(other, 'mail'), mailTo('ann@example.org', 'x'))
  await waitFor('mail of the other spool', () => server.messages.length === 1)
  await waitFor('the complaint', () => drop.lines('trouble').length > 0)
  t.match(drop.lines('trouble')[0], /text=".*spool: .*a file stands where a directory is needed; move it away"/)
  unlinkSync(drop.spool)
  await waitFor('a new spool', () => namesIn(drop.spool).includes('failed'))
  await drop.submit(['bob@example.org'])
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
  t.equal(drop.lines('trouble').length, 1, 'said once')
})
