/** Ports on the loopback interface, for servers that cannot choose one themselves, or begin later. */
import { randomInt } from 'node:crypto'
import { connect, createServer } from 'node:net'

/**
 * Where ports are not given out: 0 means one of the ephemeral range (RFC 6335 section 6, from 32768 on with Linux), and so does
 * every connection, so that one of those that is free now may be somebody's own in the next moment.
 */
const [FIRST, LAST] = [10_000, 32_000]

/** A port on 127.0.0.1 that is free, and that nobody gets without asking for it. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(FIRST, LAST)
    if (await isFree(port)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** Whether an SMTP server greets on that port. */
export function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('data', () => socket.end('QUIT\r\n', () => resolve(true)))
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
  })
}
