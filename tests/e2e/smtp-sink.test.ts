/** The daemon against Postfix's smtp-sink: a server that is not ours, and a count of what it has really received. */
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { launchProgram } from '../support/children.ts'
import { makeDue, namesIn, testMaildrop } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { answers, freePort } from '../support/ports.ts'
import { removeDirectory } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'

const SINK = '/usr/sbin/smtp-sink'
const peer = needs(existsSync(SINK) ? undefined : `${SINK} is not there: install the Debian package postfix`)

/** Starts smtp-sink on a free port; it writes every message it takes into a file of its own. */
async function startSink(t: Test, options: readonly string[] = [], onPort?: number) {
  const dump = mkdtempSync(join(tmpdir(), 'smtp-sink-'))
  t.teardown(() => removeDirectory(dump))
  const asRoot = process.getuid?.() === 0
  if (asRoot) chmodSync(dump, 0o777)
  const port = onPort ?? (await freePort())
  const user = asRoot ? ['-u', 'nobody'] : []
  const sink = launchProgram(t, SINK, [...user, ...options, '-d', join(dump, 'mail.'), `127.0.0.1:${port}`, '128'])
  await waitFor(`${SINK} to listen (${sink.output()})`, () => answers(port))
  const received = () => readdirSync(dump).map(name => readFileSync(join(dump, name), 'utf8'))
  const stop = async (): Promise<void> => {
    sink.process.kill('SIGKILL')
    await sink.ended
  }
  return { port, dump, received, stop }
}

const TOTAL = 500
const messageFor = (number: number): string =>
  `From: sender@example.org\r\nSubject: message ${number}\r\n\r\n${`line of ${number}\r\n`.repeat(20)}.\r\n..end of ${number}\r\n`

/** The number of each message that was received; throws if one is not whole or its envelope is another's. */
function numbersOf(received: string[]): number[] {
  return received.map(text => {
    const number = Number(/^Subject: message (\d+)$/m.exec(text)?.[1])
    const { length } = text.match(new RegExp(`^line of ${number}$`, 'gm')) ?? []
    const [, recipient] = /^X-Rcpt-Args: <r(\d+)@example\.org>/m.exec(text) ?? []
    const whole = length === 20 && new RegExp(`\\n\\.\\r?\\n\\.\\.end of ${number}\\r?\\n`).test(text)
    if (!whole || Number(recipient) !== number) throw new Error(`not what was sent:\n${text}`)
    return number
  })
}

t.test(`${TOTAL} messages reach smtp-sink, each once and whole`, peer, async t => {
  const sink = await startSink(t)
  const drop = testMaildrop(t, sink.port)
  for (let i = 0; i < TOTAL / 2; i++) await drop.submit([`r${i}@example.org`], { message: messageFor(i) })
  await drop.daemon()
  for (let i = TOTAL / 2; i < TOTAL; i++) await drop.submit([`r${i}@example.org`], { message: messageFor(i) })
  await drop.drained()
  await waitFor('all messages', () => namesIn(sink.dump).length >= TOTAL)
  const numbers = numbersOf(sink.received()).sort((a, b) => a - b)
  t.strictSame(
    numbers,
    Array.from({ length: TOTAL }, (_, i) => i),
  )
  await waitFor('the log', () => drop.lines('sent').length >= TOTAL)
  t.equal(drop.lines('sent').length, TOTAL)
  t.strictSame(namesIn(drop.spool, 'failed'), [])
})

/** Options of smtp-sink that make it misbehave, and the word in the log for what that means. */
const FAULTS: [string, string, 'sent in the end' | 'failed'][] = [
  ['-r RCPT', 'defer-recipient', 'sent in the end'],
  ['-r .', 'defer-message', 'sent in the end'],
  ['-q DATA', 'defer-message', 'sent in the end'],
  ['-Q MAIL', 'defer-server', 'sent in the end'],
  ['-Q CONNECT', 'server-down', 'sent in the end'],
  ['-f .', 'fail-message', 'failed'],
]

for (const [fault, word, end] of FAULTS) {
  t.test(`smtp-sink ${fault}: ${word}, and ${end}`, peer, async t => {
    const bad = await startSink(t, fault.split(' '))
    const drop = testMaildrop(t, bad.port, { MAILDROP_INTERVAL: '0.3' })
    await drop.daemon()
    const total = 5
    for (let i = 0; i < total; i++) await drop.submit([`r${i}@example.org`], { message: messageFor(i) })
    const expected = end === 'failed' ? total : 1
    await waitFor(`${word} in the log`, () => drop.lines(word).length >= expected)
    await bad.stop()
    const good = await startSink(t, [], bad.port)
    await waitFor('an empty queue', async () => {
      makeDue(drop.spool)
      return (await drop.queue()).every(({ status }) => status === 'failed')
    })
    const sent = end === 'failed' ? 0 : total
    t.strictSame(numbersOf(good.received()).sort(), [0, 1, 2, 3, 4].slice(0, sent))
    t.equal((await drop.queue()).length, total - sent)
  })
}
