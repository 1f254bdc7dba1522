/** What every reply at every stage means, what becomes of the recipients, and when it is tried again: the pure half, as tables. */
import assert from 'node:assert/strict'
import t from 'tap'
import { delayAfter, PROBE_DELAYS, RETRY_DELAYS } from '../../maildrop/delivery/backoff.ts'
import {
  type Event,
  isTooMany,
  parseReply,
  type Stage,
  type Verdict,
  verdictOf,
} from '../../maildrop/delivery/outcome.ts'
import {
  disposition,
  expireOutcomes,
  isUncounted,
  MAX_RECIPIENTS,
  outcomesOf,
  stateAfter,
  stillPending,
} from '../../maildrop/delivery/settle.ts'
import { newState, waitingRecipients } from '../../maildrop/spool/state.ts'
import { fc } from '../support/properties.ts'

const event = (stage: Stage, code?: number, enhanced?: string): Event => ({ stage, code, enhanced, text: 'text' })

const REPLIES = [undefined, 220, 250, 354, 421, 430, 450, 451, 452, 500, 503, 530, 535, 550, 552, 554] as const
type Row = Partial<Record<(typeof REPLIES)[number] & number, Verdict>> & {
  none: Verdict
  '4xx': Verdict
  '5xx': Verdict
}

const server: Row = { none: 'defer-server', '4xx': 'defer-server', '5xx': 'defer-server' }
const TABLE: Record<Exclude<Stage, 'local'>, Row> = {
  connect: server,
  greeting: server,
  tls: server,
  login: server,
  mail: {
    none: 'defer-message',
    '4xx': 'defer-message',
    '5xx': 'fail-message',
    421: 'defer-server',
    530: 'defer-server',
  },
  rcpt: {
    none: 'defer-message',
    '4xx': 'defer-recipient',
    '5xx': 'fail-recipient',
    421: 'defer-server',
    552: 'defer-recipient',
  },
  data: { none: 'defer-message', '4xx': 'defer-message', '5xx': 'fail-message', 421: 'defer-server' },
  body: { none: 'defer-message', '4xx': 'defer-message', '5xx': 'fail-message', 421: 'defer-server' },
  dot: {
    none: 'unknown',
    '4xx': 'defer-message',
    '5xx': 'fail-message',
    421: 'defer-server',
    220: 'sent',
    250: 'sent',
    354: 'unknown',
  },
}

for (const [stage, row] of Object.entries(TABLE) as [Exclude<Stage, 'local'>, Row][]) {
  t.test(`at ${stage} every reply, and none, has its verdict`, async t => {
    for (const code of REPLIES) {
      const special = code === undefined ? row.none : row[code]
      // A yes at any other stage than the last comes only with a failure, such as a connection that is lost then.
      if (special === undefined && (code ?? 0) < 400) continue
      const expected = special ?? ((code ?? 0) < 500 ? row['4xx'] : row['5xx'])
      t.equal(verdictOf(event(stage, code)), expected, `${stage} ${code}`)
    }
  })
}

t.test('trouble on our side defers the message, unless no later attempt can succeed', async t => {
  t.equal(verdictOf(event('local')), 'defer-message')
  t.equal(verdictOf({ ...event('local'), unfit: true }), 'fail-message')
})

t.test('a reply is read with its code, enhanced code and text, whatever it looks like', async t => {
  const cases: [string, Partial<Event>][] = [
    ['250 ok', { code: 250, enhanced: undefined, text: 'ok' }],
    ['250', { code: 250, text: '' }],
    ['550-5.1.1 No such\n550 5.1.1 user', { code: 550, enhanced: '5.1.1', text: 'No such user' }],
    ['550-No such\r\n550-user\r\n550 5.1.1 here', { code: 550, enhanced: '5.1.1', text: 'No such user here' }],
    ['450 4.7.1 Greylisted, try again in 300 seconds', { code: 450, enhanced: '4.7.1' }],
    ['550 5.1.1user', { code: 550, enhanced: undefined, text: '5.1.1user' }],
    ['550 9.1.1 user', { code: 550, enhanced: undefined }],
    ['650 what', { code: undefined, text: '650 what' }],
    ['25 ok', { code: undefined, text: '25 ok' }],
    ['', { code: undefined, text: '' }],
    ['\0\x01junk', { code: undefined, text: '\0\x01junk' }],
    ['550 no\r\nsuch', { code: undefined }],
  ]
  for (const [reply, expected] of cases) t.match(parseReply(reply), expected, JSON.stringify(reply))
  t.equal(parseReply(`550 ${'x'.repeat(100_000)}`).text.length, 500, 'only a part of an enormous one is kept')
})

t.test('a reply of one line is read as the last line of a longer one is', async () => {
  const line = fc.stringMatching(/^[2-6]?[0-9]{0,3}[ -]?([245]\.[0-9]{1,3}\.[0-9]{1,4})?[ -]?[ a-z<>.\r5]{0,20}$/)
  fc.assert(
    fc.property(line, text => {
      const [short, long] = [parseReply(text), parseReply(`250-\n${text}`)]
      // What is no reply is told as it came.
      assert.deepEqual(short, long.code === undefined ? { ...long, text: short.text } : long)
    }),
    { numRuns: 1000 },
  )
})

t.test('too many recipients is 452 or 552, unless the enhanced code says otherwise', async t => {
  const cases: [Event, boolean][] = [
    [event('rcpt', 452), true],
    [event('rcpt', 452, '4.5.3'), true],
    [event('rcpt', 552, '5.5.3'), true],
    [event('rcpt', 452, '4.2.2'), false],
    [event('rcpt', 450), false],
    [event('dot', 452), false],
  ]
  for (const [each, expected] of cases) t.equal(isTooMany(each), expected, JSON.stringify(each))
})

const NOW = Date.parse('2026-11-24T12:00:00Z')
const mail = (...to: string[]) => newState({ id: 'id', written: NOW - 1000, envelope: { from: 's@example.org', to } })
const report = (end: Event, refused: Record<string, Event> = {}) => ({ refused: new Map(Object.entries(refused)), end })

t.test('each recipient gets its own outcome, with a reason that programs can read', async t => {
  const refused = { b: event('rcpt', 550, '5.1.1'), c: event('rcpt', 450) }
  const outcomes = outcomesOf(['a', 'b', 'c'], report(event('dot', 250, '2.0.0'), refused))
  const state = stateAfter(mail('a', 'b', 'c'), outcomes, NOW)
  const at = '2026-11-24T12:00:00.000Z'
  t.strictSame(state.recipients, [
    {
      address: 'a',
      status: 'sent',
      reply: '250 2.0.0 text (dot)',
      stage: 'dot',
      code: 250,
      enhanced: '2.0.0',
      text: 'text',
      at,
    },
    {
      address: 'b',
      status: 'failed',
      reply: '550 5.1.1 text (rcpt)',
      stage: 'rcpt',
      code: 550,
      enhanced: '5.1.1',
      text: 'text',
      at,
    },
    { address: 'c', status: 'waiting', reply: '450 text (rcpt)', stage: 'rcpt', code: 450, text: 'text', at },
  ])
  t.strictSame([state.attempts, state.transactions, disposition(state)], [1, 1, 'defer'])
  const later = stateAfter(state, outcomesOf(waitingRecipients(state), report(event('dot', 250))), NOW)
  t.strictSame(later.recipients.slice(0, 2), state.recipients.slice(0, 2), 'what is decided stays decided')
  t.strictSame([later.attempts, disposition(later)], [2, 'fail'])
})

t.test('a message is removed when all have it, deferred while one waits, given up otherwise', async t => {
  const after = (...ends: Event[]) => {
    const to = ends.map((_, i) => `r${i}`)
    const refused = Object.fromEntries(ends.map((end, i) => [`r${i}`, end]))
    return disposition(stateAfter(mail(...to), outcomesOf(to, report(event('dot', 250), refused)), NOW))
  }
  const [sent, waits, failed] = [event('dot', 250), event('rcpt', 450), event('rcpt', 550)]
  t.equal(after(sent, sent), 'remove')
  t.equal(after(sent, waits, failed), 'defer')
  t.equal(after(sent, failed), 'fail')
  t.equal(after(failed), 'fail')
  t.equal(after(event('dot')), 'defer', 'unknown is tried again')
})

t.test(
  'an attempt at which the server could not be used is not counted, but for one that may be the reason',
  async t => {
    const fresh = newState({ id: 'x', written: Date.now(), envelope: { from: '', to: ['a@example.org'] } })
    const closing = outcomesOf(['a@example.org'], { refused: new Map(), end: event('mail', 421) })
    const later = outcomesOf(['a@example.org'], { refused: new Map(), end: event('mail', 451) })
    t.ok(isUncounted(fresh, closing, false))
    t.notOk(isUncounted(fresh, later, true))
    const once = stateAfter(fresh, closing, Date.now(), true)
    t.equal(once.attempts, 0)
    t.notOk(isUncounted(once, closing, false))
    t.ok(isUncounted(once, closing, true))
  },
)

t.test('what is too old fails instead of being deferred, and only that', async t => {
  const refused = { b: event('rcpt', 550), c: event('rcpt', 450) }
  const outcomes = outcomesOf(['a', 'b', 'c'], report(event('dot', 250), refused))
  const verdicts = (maxAge: number) =>
    expireOutcomes(outcomes, mail('a', 'b', 'c'), maxAge, NOW).map(each => each.verdict)
  t.strictSame(verdicts(2), ['sent', 'fail-recipient', 'defer-recipient'])
  t.strictSame(verdicts(1), ['sent', 'fail-recipient', 'expired'])
  const state = stateAfter(mail('a', 'b', 'c'), expireOutcomes(outcomes, mail('a', 'b', 'c'), 1, NOW), NOW)
  t.match(state.recipients[2], { status: 'failed', code: 450, reply: 'too old to be tried again; 450 text (rcpt)' })
  t.equal(disposition(state), 'fail')
})

t.test('an attempt goes on with those it has not tried, unless the trouble is not theirs', async t => {
  const pending = ['a', 'b', 'c', 'd']
  const rest = (end: Event, refused: Record<string, Event> = {}) =>
    stillPending(pending, outcomesOf(['a', 'b'], report(end, refused)))
  t.strictSame(rest(event('dot', 250)), ['c', 'd'])
  t.strictSame(rest(event('dot', 554)), ['c', 'd'])
  t.strictSame(rest(event('rcpt', 550), { a: event('rcpt', 550), b: event('rcpt', 450) }), ['c', 'd'])
  t.strictSame(rest(event('dot', 250), { b: event('rcpt', 452) }), ['c', 'd', 'b'], 'one too many is tried once more')
  t.strictSame(rest(event('dot', 250), { b: event('rcpt', 450) }), ['c', 'd'], 'one that is greylisted is not')
  t.strictSame(rest(event('rcpt', 452), { a: event('rcpt', 452), b: event('rcpt', 452) }), ['c', 'd'])
  for (const end of [event('mail'), event('mail', 451), event('rcpt', 421), event('dot'), event('dot', 451)])
    t.strictSame(rest(end), [], JSON.stringify(end))
  t.equal(MAX_RECIPIENTS, 100)
})

t.test('transactions of one attempt are counted by the journal, and not as attempts', async t => {
  const sent = outcomesOf(['a'], report(event('dot', 250)))
  const first = stateAfter(mail('a', 'b'), sent, NOW, true)
  t.strictSame([first.attempts, first.transactions], [0, 1])
  const second = stateAfter(first, outcomesOf(['b'], report(event('dot', 250))), NOW)
  t.strictSame([second.attempts, second.transactions, disposition(second)], [1, 2, 'remove'])
  const { transactions: _, ...old } = stateAfter(mail('a', 'b'), sent, NOW)
  t.equal(stateAfter(old, sent, NOW).transactions, 2, 'a state of an older version counts its attempts')
})

t.test(
  'the next attempt comes after 1, 5, 15, 30 minutes, 1, 2 and then every 4 hours, give or take a fifth',
  async t => {
    const minutes = (attempts: number, random: number) => delayAfter(RETRY_DELAYS, attempts, random) / 60
    const expected = [1, 5, 15, 30, 60, 120, 240, 240, 240]
    t.strictSame(
      expected.map((_, i) => Math.round(minutes(i + 1, 0.5))),
      expected,
    )
    for (const [i, usual] of expected.entries()) {
      t.ok(Math.abs(minutes(i + 1, 0) - usual * 0.8) < 1e-6)
      t.ok(Math.abs(minutes(i + 1, 1) - usual * 1.2) < 1e-6)
    }
    t.ok(Math.max(...PROBE_DELAYS) <= 5, 'a server that is back is noticed within seconds')
  },
)
