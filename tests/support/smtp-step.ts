/**
 * What a scripted SMTP server does at a stage: a reply, or a fault.
 *
 *     '250 ok'                            the reply; several lines are separated by \n, CRLF is added
 *     'hang'                              no answer to anything any more, the connection stays open
 *     'stall'                             nothing is read any more either
 *     { sip: 20 }                         a piece is read every so many milliseconds, and nothing answered
 *     'drop'  'reset'                     the connection is ended (FIN) or torn (RST)
 *     { raw: '25\0junk' }                 these bytes as they are, and the dialogue goes on
 *     { raw: '250-half', next: 'hang' }   the same, and another step
 *     { after: 500, say: '250 ok' }       a step, so many milliseconds later
 *     { heard: '250 ok' }                 a step, once the client has sent something more
 *     { trickle: '250 ok', every: 20 }    the reply, one byte each so many milliseconds
 *     { endless: '250-more\r\n', every }  these bytes again and again, until the connection is closed
 *     undefined                           what a well-behaved server says
 */
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

export type Step =
  | string
  | undefined
  | { readonly raw: string | Uint8Array; readonly next?: Step }
  | { readonly sip: number }
  | { readonly after: number; readonly say: Step }
  | { readonly heard: Step }
  | { readonly trickle: string; readonly every: number }
  | { readonly endless: string; readonly every: number }

/**
 * @param usual the reply of a well-behaved server
 * @returns true if the server has said yes and the dialogue goes on as it should
 */
export async function perform(socket: Duplex, step: Step, usual: string): Promise<boolean> {
  if (step === 'hang') {
    await closed(socket)
    return false
  }
  if (step === 'stall') {
    socket.pause()
    return false
  }
  if (step === 'drop' || step === 'reset') {
    tear(socket, step)
    return false
  }
  if (step === undefined || typeof step === 'string') return say(socket, step ?? usual)
  if ('raw' in step) {
    socket.write(typeof step.raw === 'string' ? Buffer.from(step.raw, 'latin1') : step.raw)
    return step.next === undefined ? false : await perform(socket, step.next, usual)
  }
  if ('sip' in step) {
    await sip(socket, step.sip)
    return false
  }
  if ('after' in step) {
    await sleep(step.after)
    return await perform(socket, step.say, usual)
  }
  if ('heard' in step) {
    const more = once(socket, 'data').catch(() => undefined)
    await Promise.race([more, closed(socket)])
    return await perform(socket, step.heard, usual)
  }
  if ('trickle' in step) {
    for (const byte of wire(step.trickle)) {
      if (!(await put(socket, byte))) return false
      await sleep(step.every)
    }
    return isPositive(step.trickle)
  }
  while (await put(socket, step.endless)) await sleep(step.every)
  return false
}

function say(socket: Duplex, reply: string): boolean {
  socket.write(wire(reply))
  if (reply.startsWith('421')) socket.end()
  return isPositive(reply)
}

function wire(reply: string): string {
  return `${reply.replace(/\n/g, '\r\n')}\r\n`
}

function isPositive(reply: string): boolean {
  return /^[23]/.test(reply)
}

function tear(socket: Duplex, how: 'drop' | 'reset'): void {
  const { resetAndDestroy } = socket as { resetAndDestroy?: () => void }
  if (how === 'reset' && resetAndDestroy) resetAndDestroy.call(socket)
  else socket.destroy()
}

/** Resolves when the connection is closed, by an error too: a client that is killed resets it. */
function closed(socket: Duplex): Promise<void> {
  return new Promise(resolve => {
    if (socket.destroyed) resolve()
    else socket.once('close', () => resolve())
  })
}

async function sip(socket: Duplex, every: number): Promise<void> {
  const end = closed(socket)
  while (!socket.destroyed) {
    socket.pause()
    await sleep(every)
    socket.resume()
    await Promise.race([once(socket, 'data').catch(() => undefined), end])
  }
}

/** Resolves when the bytes have left; false if the connection is closed. */
function put(socket: Duplex, bytes: string): Promise<boolean> {
  return new Promise(resolve => {
    if (socket.destroyed || !socket.writable) return resolve(false)
    const closed = (): void => resolve(false)
    socket.once('close', closed)
    socket.write(bytes, 'latin1', error => {
      socket.removeListener('close', closed)
      resolve(!error)
    })
  })
}
