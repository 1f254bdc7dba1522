/**
 * Random values, 10,000 in each place of a header where only something of a form may stand (an address, a date): mailparser sees exactly the
 * headers and recipients that the template wrote, or the page is refused and nothing is sent. The values are made of pieces of that
 * form, so that many are accepted.
 */
import assert from 'node:assert/strict'
import t from 'tap'
import { EVIL, HEAD, isNothing, nearly, OWN, RUNS, replaced, seen, send, source } from '../support/mail-fuzz.ts'
import { fc } from '../support/properties.ts'

t.setTimeout(1_200_000)

interface Place {
  readonly page: string
  readonly right: string
  /** The headers that the template wrote, besides those that every message has. */
  readonly keys?: readonly string[]
  readonly to?: number
}
const usual = ['from', 'to', 'subject']
const PLACES: Record<string, Place> = {
  'the recipient': { page: replaced('To', 'To: <<v>>'), right: 'ann@example.org' },
  'a recipient among others': { page: replaced('To', 'To: bob@example.org, <<v>>'), right: 'ann@example.org', to: 2 },
  'a recipient in angle brackets': { page: replaced('To', 'To: "Ann" < <<v>> >'), right: 'ann@example.org' },
  'a local part': { page: replaced('To', 'To: <<v>>@example.org'), right: 'ann' },
  'a domain': { page: replaced('To', 'To: ann@<<v>>'), right: 'example.org' },
  'the sender': { page: replaced('From', 'From: <<v>>'), right: 'shop@example.org' },
  'a copy': { page: source([...HEAD, 'Cc: <<v>>']), right: 'cy@example.org', keys: [...usual, 'cc'], to: 2 },
  'a blind copy': { page: source([...HEAD, 'Bcc: <<v>>']), right: 'cy@example.org', to: 2 },
  'the answer': { page: source([...HEAD, 'Reply-To: <<v>>']), right: 'cy@example.org', keys: [...usual, 'reply-to'] },
  mailto: { page: source(HEAD, 'mailto=v'), right: 'ann@example.org' },
  mailfrom: { page: source(HEAD, 'mailfrom=v'), right: 'shop@example.org' },
  'the date': { page: source([...HEAD, 'Date: <<v>>']), right: 'Thu, 1 Jan 2026 12:00:00 +0000' },
  'the message id': { page: source([...HEAD, 'Message-ID: <<v>>']), right: '<x@example.org>' },
  'a reference': {
    page: source([...HEAD, 'References: <a@b.c> <<v>>']),
    right: '<x@y.z>',
    keys: [...usual, 'references'],
  },
  'a content type': { page: source([...HEAD, 'Content-Type: text/<<v>>']), right: 'plain' },
  'a parameter of the content type': {
    page: source([...HEAD, 'Content-Type: text/plain; charset=<<v>>']),
    right: 'utf-8',
  },
}

for (const [where, { page, right, keys = usual, to = 1 }] of Object.entries(PLACES))
  t.test(`nearly right values as ${where}`, async t => {
    let accepted = 0
    let refused = 0
    const wanted = [...keys, ...OWN].sort()
    await fc.assert(
      fc.asyncProperty(nearly(right), async value => {
        const mail = await send(page, value)
        if (mail === undefined) {
          refused += 1
          return
        }
        accepted += 1
        const found = await seen(mail)
        if (isNothing(value)) {
          assert.ok(found.keys.every(key => wanted.includes(key)) && mail.envelope.to.length <= to)
          return
        }
        assert.deepEqual(found.keys.toSorted(), wanted)
        assert.equal(mail.envelope.to.length, to)
        assert.equal(found.addresses('from').length, 1)
        assert.ok(found.addresses('to').length + found.addresses('cc').length <= to)
        if (!JSON.stringify(value).includes(EVIL)) assert.ok(!mail.envelope.to.includes(EVIL))
      }),
      { numRuns: RUNS },
    )
    t.ok(accepted > 500 && refused > 500, `${accepted} accepted, ${refused} refused`)
  })
