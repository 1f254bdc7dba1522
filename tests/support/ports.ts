/** Ports on the loopback interface, for servers that cannot choose one themselves. */
import { connect, createServer } from 'node:net'

/** A port on 127.0.0.1 that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
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
