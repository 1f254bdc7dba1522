/**
 * SMTP smuggling: whatever a message contains, a server gets one message, also one that takes other line ends than CRLF for
 * line ends. Looked at are the bytes on the wire.
 */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { simpleParser } from 'mailparser'
import t, { type Test } from 'tap'
import { openSession } from '../../maildrop/delivery/session.ts'
import { startInbox } from '../support/inbox.ts'
import { outgoingOf } from '../support/outgoing.ts'
import { fc } from '../support/properties.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'

t.jobs = 3

/** A server that answers as few commands as there are, and keeps every byte that came. */
async function recorder(t: Test, extensions: string[] = []) {
  const messages: string[] = []
  const commands: string[] = []
  const server = createServer(socket => converse(socket))
  const converse = (socket: Socket): void => {
    let rest = ''
    let inData = false
    socket.on('error', () => undefined)
    socket.write('220 recorder\r\n')
    socket.setEncoding('latin1').on('data', (text: string) => {
      rest += text
      for (;;) {
        const mark = inData ? '\r\n.\r\n' : '\r\n'
        const end = rest.indexOf(mark)
        if (end === -1) return
        const line = rest.slice(0, end + mark.length)
        rest = rest.slice(end + mark.length)
        if (inData) messages.push(line)
        else commands.push(line.slice(0, 4))
        if (line.startsWith('EHLO') && !inData)
          socket.write(['250-recorder', ...extensions.map(name => `250-${name}`), '250 HELP', ''].join('\r\n'))
        else socket.write(line.startsWith('DATA') && !inData ? '354 go\r\n' : '250 ok\r\n')
        inData = line.startsWith('DATA') && !inData
      }
    })
  }
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const address = server.address()
  const session = await openSession(smtpConfigFor(typeof address === 'object' && address ? address.port : 0))
  t.teardown(() => session.abort('the test is over'))
  return {
    commands,
    /** Sends a message with this body; returns what came over the wire, up to the end. */
    async wire(body: string): Promise<string> {
      messages.length = 0
      commands.length = 0
      const envelope = { from: 'ann@example.org', to: ['bob@example.org'] }
      const { end } = await session.send(envelope, outgoingOf(t, `Subject: hello\r\n\r\n${body}`))
      if (end.code !== 250) throw new Error(`not taken: ${end.text}`)
      if (messages.length !== 1) throw new Error(`${messages.length} messages`)
      return messages[0]!
    },
  }
}

/** Where a server might see the end of a message, if it knows line ends that there are not. */
const ENDS = /(?:\r\n|\r|\n)\.(?:\r\n|\r|\n)/g

/** What is to arrive: every line end is CRLF. */
function lines(body: string): string {
  const text = body.replace(/\r\n|\r|\n/g, '\r\n')
  return text === '' || text.endsWith('\r\n') ? text : `${text}\r\n`
}

function unstuffed(wire: string): string {
  return wire.slice('Subject: hello\r\n\r\n'.length, -'.\r\n'.length).replace(/(^|\r\n)\./g, '$1')
}

const INNER = 'MAIL FROM:<eve@example.org>\r\nRCPT TO:<ceo@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nhello\r\n'

const BODIES = [
  '\n.\n',
  '\n.\r\n',
  '\r\n.\n',
  '\r.\r',
  '\r.\r\n',
  '\r\n.\r',
  '\r\n.\r\n',
  '\n.\r',
  '\r.\n',
  '\r\r\n.\r\n',
  '\r\n\x00.\r\n',
  '.\r\n',
  '.',
  '..',
  '..\r\n.',
  '\r',
  '\n',
  '',
  '\r\n.\r\n.\r\n',
  '\r\n .\r\n',
  '\n\n.\n\n',
  '\r\n.\r\r\n',
].flatMap(end => [end, `a${end}`, `a${end}${INNER}`, `a${end}RSET\r\n${INNER}.\r\n`])

t.test('lines that look like the end of a message are no end', async t => {
  for (const extensions of [[], ['PIPELINING', '8BITMIME'], ['CHUNKING', 'BINARYMIME']]) {
    const server = await recorder(t, extensions)
    for (const body of BODIES) {
      const wire = await server.wire(body)
      const about = JSON.stringify(body)
      t.equal(wire.match(ENDS)?.length, 1, `one end: ${about}`)
      t.equal(unstuffed(wire), lines(body), about)
      t.notMatch(wire, /\r(?!\n)|(?<!\r)\n/, about)
      t.strictSame(
        server.commands.filter(name => name !== 'EHLO'),
        ['MAIL', 'RCPT', 'DATA'],
      )
    }
  }
})

t.test('no body at all ends its message', async t => {
  const server = await recorder(t, ['PIPELINING', '8BITMIME'])
  const piece = fc.constantFrom('\r', '\n', '.', '\r\n', 'a', '\x00', 'MAIL FROM:<>', '\xff', '\x85', '\u000b')
  // Long enough to be cut anywhere by the pieces in which a file is read.
  const bodies = fc.tuple(fc.constantFrom(0, 16_000, 65_000, 131_000), fc.array(piece, { maxLength: 40 }))
  await fc.assert(
    fc.asyncProperty(bodies, async ([before, pieces]) => {
      const filler = `${'x'.repeat(98)}\r\n`.repeat(Math.floor(before / 100)) + 'y'.repeat(pieces.length)
      const body = filler + pieces.join('')
      const wire = await server.wire(body)
      return wire.match(ENDS)?.length === 1 && unstuffed(wire) === lines(body)
    }),
    { numRuns: 300 },
  )
})

t.test('the cut between two pieces of a file is no place to hide', async t => {
  const server = await recorder(t)
  // The file begins with the envelope; whatever its length, one of these lies across each multiple of a piece.
  for (let shift = 0; shift < 60; shift += 1) {
    const body = `${'a'.repeat(shift % 7)}${`${'x'.repeat(900)}\r\n`.repeat(145)}${'z'.repeat(shift * 16)}\r\n.\r\n${`${'y'.repeat(5)}\r\n.\r\n`.repeat(10_000)}`
    const wire = await server.wire(body)
    t.equal(wire.match(ENDS)?.length, 1)
    t.equal(unstuffed(wire), lines(body))
  }
})

t.test('a real server receives one message', async t => {
  const inbox = await startInbox()
  t.teardown(() => inbox.close())
  const session = await openSession(smtpConfigFor(inbox.port))
  for (const body of BODIES) {
    inbox.messages.length = 0
    const envelope = { from: 'ann@example.org', to: ['bob@example.org'] }
    await session.send(envelope, outgoingOf(t, `Subject: hello\r\n\r\n${body}`))
    t.strictSame(
      inbox.messages.map(({ to, text }) => [to, text]),
      [[['bob@example.org'], `Subject: hello\r\n\r\n${lines(body)}`]],
      JSON.stringify(body),
    )
  }
  session.quit()
  await session.closed
})

t.test('lines of more than 998 bytes mean the same behind the encoding', async t => {
  const server = await recorder(t, ['8BITMIME'])
  const body = `${'x'.repeat(5000)}\n.\n${'.'.repeat(2000)}\r.\r${INNER}`
  const wire = await server.wire(body)
  t.equal(wire.match(ENDS)?.length, 1)
  for (const line of wire.split('\r\n')) t.ok(line.length <= 998)
  const { text } = await simpleParser(wire.slice(0, -'.\r\n'.length).replace(/(^|\r\n)\./g, '$1'))
  t.equal(text?.trimEnd(), lines(body).replace(/\r\n/g, '\n').trimEnd())
})
