/**
 * Random values, 10,000 in every place of a header where any text may stand: mailparser sees exactly the headers and recipients that the
 * template wrote. All places have the same value at once.
 */
import assert from 'node:assert/strict'
import t from 'tap'
import { mixed, OWN, RUNS, seen, send, source } from '../support/mail-fuzz.ts'
import type { SentMail } from '../support/mail-page.ts'
import { fc } from '../support/properties.ts'
import { readWithPython } from '../support/python-mail.ts'

t.setTimeout(1_200_000)

t.test('any text, in every place where any text may stand', async () => {
  const page = source(
    [
      'X-First: 1 <<v>>',
      'From: "<<v>>" <shop@example.org>',
      'Reply-To: <<v>> < reply@example.org>',
      'To: "a {{v}} b" <ann@example.org>, "<<v>>": bob@example.org;, cy@example.org (<<v>>)',
      'Cc: Dora <<&v>> < dora@example.org>',
      'X-Folded: one\n  <<v>>\n  two {{{v}}}',
      'X-Twice: <<v>>2<<v>>',
      'Comments: <<v>>.',
      'X-Last: <<v>>.',
    ],
    'subject=(concat "S " v)',
  )
  const keys = [
    'x-first',
    'from',
    'reply-to',
    'to',
    'cc',
    'x-folded',
    'x-twice',
    'comments',
    'x-last',
    'subject',
    ...OWN,
  ]
  const some: SentMail[] = []
  await fc.assert(
    fc.asyncProperty(mixed(), async value => {
      const mail = await send(page, value)
      assert.ok(mail, 'no text is refused')
      if (some.length < 1000) some.push(mail)
      const found = await seen(mail)
      assert.deepEqual(found.keys, keys)
      const { addresses } = found
      const list = (header: Parameters<typeof addresses>[0]) => addresses(header).map(({ address }) => address)
      assert.deepEqual(list('from'), ['shop@example.org'])
      assert.deepEqual(list('replyTo'), ['reply@example.org'])
      assert.deepEqual(list('to'), ['ann@example.org', 'bob@example.org', 'cy@example.org'])
      assert.deepEqual(list('cc'), ['dora@example.org'])
      assert.deepEqual(mail.envelope, {
        from: 'shop@example.org',
        to: ['ann@example.org', 'bob@example.org', 'cy@example.org', 'dora@example.org'],
      })
    }),
    { numRuns: RUNS },
  )
  for (const [i, { defects, headers }] of readWithPython(some.map(({ content }) => content)).entries()) {
    assert.deepEqual(defects, [], some[i]!.content.toString())
    assert.deepEqual(
      headers.map(([name]) => name.toLowerCase()),
      keys,
    )
    const addresses = headers
      .filter(([name]) => /^(to|cc)$/i.test(name))
      .flatMap(([, value]) => value.match(ADDRESS) ?? [])
    for (const address of some[i]!.envelope.to) assert.ok(addresses.includes(address))
  }
})

const ADDRESS = /[a-z]+@example\.org/g
