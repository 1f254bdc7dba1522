/**
 * The receiving side: Postfix's smtp-sink, which takes everything and keeps nothing; and a line of a given length in front of it.
 */

import { connect, createServer, type Socket } from 'node:net'
import { userInfo } from 'node:os'
import type { Bench } from '../command.ts'
import { findProgram, freePort, listening, start } from './processes.ts'

export interface Sink {
  readonly port: number
}

/**
 * @param delay seconds that it takes for each DATA
 * @throws if smtp-sink is not installed
 */
export async function startSink(bench: Bench, delay = 0): Promise<Sink> {
  const program = findProgram('smtp-sink')
  if (program === undefined) throw new Error('smtp-sink is not installed; it comes with Postfix (apt install postfix)')
  const port = await freePort()
  const user = userInfo().uid === 0 ? ['-u', 'nobody'] : []
  const slow = delay === 0 ? [] : ['-w', String(delay)]
  start(bench, program, [...user, ...slow, '-m', '500', `127.0.0.1:${port}`, '500'])
  await listening(port)
  return { port }
}

/** A port that leads to another one, with a round trip of `ms` milliseconds. */
export async function startDistance(bench: Bench, port: number, ms: number): Promise<Sink> {
  const pass = (from: Socket, to: Socket): void => {
    from.setNoDelay(true)
    from.on('data', chunk => setTimeout(() => to.write(chunk), ms / 2))
    from.on('close', () => setTimeout(() => to.destroy(), ms / 2))
    from.on('error', () => undefined)
  }
  const server = createServer(near => {
    const far = connect(port, '127.0.0.1')
    pass(near, far)
    pass(far, near)
  })
  bench.atEnd(() => server.close())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  server.unref()
  return server.address() as { port: number }
}
