/** Daemons that are killed again and again in the middle of their work, as a receiving server sees it. */
import t from 'tap'
import type { Child } from '../support/children.ts'
import { namesIn, testMaildrop } from '../support/maildrop.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'

type Stage = 'mail' | 'rcpt' | 'data' | 'body' | 'dot'

/** Where each daemon in turn is killed: when the server has seen the stage so many times. At `dot` the server takes the message. */
const STRIKES: readonly [Stage, number][] = [
  ['mail', 7],
  ['dot', 9],
  ['rcpt', 11],
  ['body', 5],
  ['dot', 1],
  ['data', 6],
  ['body', 2],
  ['dot', 20],
]

t.test(
  `${STRIKES.length} daemons are killed at work: nothing is lost, and sent twice is only what the journal says`,
  async t => {
    let strike: { stage: Stage; left: number; victim: Child } | undefined
    const see = (stage: Stage): undefined => {
      if (strike?.stage !== stage) return
      strike.left -= 1
      if (strike.left === 0) strike.victim.process.kill('SIGKILL')
    }
    // A daemon begins before it says that it has started, and is not to be done before anybody strikes.
    let armed = Promise.resolve()
    let arm = (): void => undefined
    const script: SmtpScript = {
      async mail() {
        await armed
        return see('mail')
      },
      rcpt: () => see('rcpt'),
      data: () => see('data'),
      body: bytes => (bytes > 20_000 ? see('body') : undefined),
      dot: () => see('dot'),
    }
    const server = await startSmtpScript(script)
    t.teardown(() => server.close())
    const drop = testMaildrop(t, server.port, { ADD_MESSAGEID: '1', MAILDROP_CONNECTIONS: '3' })
    const expected = new Map<string, string>()
    for (let i = 0; i < 150; i++) {
      const to = `r${i}@example.org`
      const message = `Subject: message ${i}\r\n\r\n${`line of ${i}\r\n`.repeat(i % 5 === 0 ? 5000 : 2)}`
      expected.set(to, await drop.submit([to], { message }))
    }
    for (const [stage, count] of STRIKES) {
      armed = new Promise(resolve => {
        arm = resolve
      })
      const victim = await drop.daemon()
      strike = { stage, left: count, victim }
      arm()
      t.match(await victim.ended, { end: 'SIGKILL' }, `killed at ${stage}`)
      strike = undefined
    }
    await drop.daemon()
    await drop.drained()

    t.strictSame([...new Set(server.recipients())], [...expected.keys()].sort(), 'nothing is lost')
    const copies = new Map<string, string[]>()
    for (const { to, data } of server.messages) copies.set(to[0]!, [...(copies.get(to[0]!) ?? []), data])
    const unknown = new Set(drop.lines('unknown').map(line => /id=(\S+)/.exec(line)?.[1]))
    const repeated = [...copies].filter(([, texts]) => texts.length > 1)
    for (const [to, texts] of repeated) {
      t.ok(unknown.has(expected.get(to)), `${to} got it twice, and the log knows`)
      t.equal(new Set(texts).size, 1, 'the copies are the same, with the same Message-ID')
      t.match(texts[0], `\r\nMessage-ID: <${expected.get(to)}@example.org>\r\n`.slice(2))
    }
    const deaths = STRIKES.filter(([stage]) => stage === 'dot').length
    t.ok(server.messages.length >= expected.size + deaths, 'those that had just been taken were sent again')
    t.comment(`${repeated.length} of ${expected.size} were sent again`)
    t.strictSame(server.violations, [])
    t.strictSame(namesIn(drop.spool, 'failed'), [])
    // a message goes before its state does: a daemon that dies in between leaves one, which goes when it is old
    t.ok(namesIn(drop.spool, '.state').length <= STRIKES.length, 'no more states are left than daemons died')
    t.strictSame(namesIn(drop.spool, '.deferred'), [])
  },
)
