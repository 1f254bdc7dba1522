/**
 * A connection to a Unix socket whose lines can be waited for in the same turn, as loading an object has to: another thread holds the socket,
 * and rings when something has come.
 */
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { lineCutter } from '../lines.ts'

/** Text, so that it is the same thread from the sources, from the build and from a bundle. */
const THREAD = `
const { connect } = require('node:net')
const { workerData: { port, path, bell } } = require('node:worker_threads')
const rings = new Int32Array(bell)
const say = what => {
  port.postMessage(what)
  Atomics.add(rings, 0, 1)
  Atomics.notify(rings, 0)
}
const socket = connect(path)
socket.on('connect', () => say('connected'))
socket.on('data', piece => say(piece))
socket.on('error', () => undefined)
socket.on('close', () => {
  say('closed')
  port.close()
})
port.on('message', what => (what === 'end' ? socket.destroy() : socket.write(what)))
`
const LONGEST = 2 ** 29

export class Line {
  /** Whether it can be spoken on. */
  open = true
  private readonly port: MessagePort
  private heard = (): void => undefined
  private readonly rings = new Int32Array(new SharedArrayBuffer(4))
  private readonly cut: (piece: Buffer) => void
  private readonly hear: (what: Uint8Array | 'connected' | 'closed') => void

  /**
   * @param path of the socket, for as long as it is not connected
   * @param take is given each line, in the order in which they come
   * @param changed is told when the socket is connected, and when it is closed
   */
  constructor(path: string, take: (line: string) => void, changed: (state: 'connected' | 'closed') => void) {
    const { port1, port2 } = new MessageChannel()
    this.port = port1
    this.cut = lineCutter(take, LONGEST)
    this.hear = what => {
      queueMicrotask(this.heard)
      if (typeof what !== 'string') return this.cut(Buffer.from(what))
      if (what === 'closed') this.open = false
      changed(what)
    }
    port1.on('message', this.hear)
    new Worker(THREAD, {
      eval: true,
      execArgv: [],
      workerData: { port: port2, path, bell: this.rings.buffer },
      transferList: [port2],
    }).on('error', () => this.hear('closed'))
  }

  send(line: string): void {
    if (this.open) this.port.postMessage(Buffer.from(`${line}\n`))
  }

  /** Takes what has come; if there is nothing, waits for it. @returns false if nothing came */
  wait(milliseconds: number): boolean {
    const rings = Atomics.load(this.rings, 0)
    if (this.taken()) return true
    Atomics.wait(this.rings, 0, rings, milliseconds)
    return this.taken()
  }

  /** Resolves when something has come. */
  more(): Promise<void> {
    return new Promise(resolve => {
      this.heard = resolve
    })
  }

  close(): void {
    if (this.open) this.port.postMessage('end')
  }

  private taken(): boolean {
    let some = false
    for (let next = receiveMessageOnPort(this.port); next !== undefined; next = receiveMessageOnPort(this.port)) {
      some = true
      this.hear(next.message)
    }
    return some
  }
}
