/** A large message is streamed: the daemon's memory does not grow with it. */
import { createHash, generateKeyPairSync } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { SMTPServer } from 'smtp-server'
import t, { type Test } from 'tap'
import { testMaildrop } from '../support/maildrop.ts'
import { waitFor } from '../support/waiting.ts'

const SIZE = 100 * 1024 * 1024
/**
 * Growth of the peak that is allowed, in KiB. One that is held as a whole costs its size and more. A stream costs garbage, and when that
 * is collected is up to the machine: 5 to 26 MiB as measured on an idle one.
 */
const LIMIT = 64 * 1024
const SMALL = 500

/** A server that counts and hashes what it gets, and keeps none of it. */
async function digesting(t: Test, options: { eightBit: boolean }) {
  const received: { size: number; hash: string; head: string }[] = []
  const server = new SMTPServer({
    disabledCommands: ['AUTH', 'STARTTLS'],
    disableReverseLookup: true,
    hide8BITMIME: !options.eightBit,
    size: 0,
    onData(stream, _session, done) {
      const hash = createHash('sha256')
      let size = 0
      let head = ''
      stream.on('data', (piece: Buffer) => {
        if (head.length < 4096) head += piece.toString('latin1', 0, 4096)
        size += piece.length
        hash.update(piece)
      })
      stream.on('end', () => {
        received.push({ size, hash: hash.digest('hex'), head })
        done()
      })
    },
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => new Promise<void>(resolve => server.close(() => resolve())))
  const address = server.server.address()
  return { port: typeof address === 'object' && address ? address.port : 0, received }
}

/** Peak of the resident memory, in KiB. */
function peak(pid: number): number {
  return Number(/^VmHWM:\s*(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
}

/** Drops a large message; returns the hash of its bytes as they are to arrive. */
function dropLarge(home: string, spool: string, line: string): string {
  mkdirSync(spool, { recursive: true })
  const draft = join(home, 'draft')
  const hash = createHash('sha256')
  const fd = openSync(draft, 'w', 0o600)
  writeSync(fd, '##To:ann@example.org\n##From:bob@example.org\n')
  const put = (bytes: Buffer): void => {
    writeSync(fd, bytes)
    hash.update(bytes)
  }
  put(Buffer.from('Subject: large\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n'))
  const block = Buffer.from(line.repeat(Math.ceil((1024 * 1024) / line.length)))
  for (let size = 0; size < SIZE; size += block.length) put(block)
  closeSync(fd)
  renameSync(draft, join(spool, 'large'))
  return hash.digest('hex')
}

async function growth(t: Test, line: string, { eightBit }: { eightBit: boolean }, env: Record<string, string> = {}) {
  const server = await digesting(t, { eightBit })
  const drop = testMaildrop(t, server.port, { MAILDROP_INTERVAL: '0.5', ...env })
  const daemon = await drop.daemon()
  // As a daemon is that has been working: V8 has given the heap the room that it wants.
  for (let i = 0; i < SMALL; i++) await drop.submit(['ann@example.org'])
  await waitFor('the small messages', () => server.received.length === SMALL)
  const before = peak(daemon.process.pid!)
  const hash = dropLarge(drop.home, drop.spool, line)
  await waitFor('the large message', () => server.received.length === SMALL + 1, 450_000)
  await drop.drained()
  const grown = peak(daemon.process.pid!) - before
  t.ok(grown < LIMIT, `the peak has grown by ${grown} KiB`)
  return { received: server.received[SMALL]!, hash }
}

t.test('a message of 100 MB', { timeout: 550_000 }, async t => {
  const { received, hash } = await growth(t, `${'x'.repeat(70)}\r\n`, { eightBit: true })
  t.equal(received.hash, hash)
})

t.test('a message of 100 MB that is encoded for the server, and signed', { timeout: 550_000 }, async t => {
  const key = join(t.testdir(), 'key.pem')
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  const env = { MAILDROP_DKIM_DOMAIN: 'example.org', MAILDROP_DKIM_SELECTOR: 's', MAILDROP_DKIM_KEY_FILE: key }
  const { received } = await growth(t, `${'Gr\u00fc\u00dfe '.repeat(8)}\r\n`, { eightBit: false }, env)
  t.match(received.head, /^DKIM-Signature: /)
  t.match(received.head, 'Content-Transfer-Encoding: quoted-printable')
  t.ok(received.size > SIZE)
})
