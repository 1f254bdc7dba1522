/** Questions to the process that has a database open, and its answers: awaited, or waited for in the same turn. */
import type { TransactionEntry } from '../../lib/storage/storage.ts'
import { ObjectError } from '../../objects/index.ts'
import { errorOf, type Failure } from '../failures.ts'
import { SOCKET, shortPath } from '../socket-path.ts'
import { parsed, VERSION } from '../wire.ts'
import { Line } from './line.ts'
import type { Said } from './protocol.ts'
import { receivedEntry, type Sent } from './transactions.ts'

/** Milliseconds that the other process may take for an answer that is waited for. */
const PATIENCE = 60_000
interface Reply {
  readonly id?: number
  readonly value?: unknown
  readonly error?: Failure
  readonly committed?: Sent
  readonly accepted?: true
}

interface Waiting {
  readonly done: (value: unknown) => void
  readonly failed: (error: Error) => void
}

export class Conversation {
  readonly listeners = new Set<(entry: TransactionEntry) => void>()
  private readonly directory: string
  private readonly waiting = new Map<number, Waiting>()
  private readonly line: Line
  private release: () => void
  private last = 0
  private ended = false
  private began: ((accepted: boolean | Error) => void) | undefined

  constructor(directory: string) {
    this.directory = directory
    const { path, release } = shortPath(directory, SOCKET)
    this.release = release
    this.line = new Line(
      path,
      line => this.hear((parsed(line) ?? {}) as Reply),
      state => (state === 'connected' ? this.release() : this.lost()),
    )
  }

  /** @returns whether somebody is there who serves it */
  async begin(user: string): Promise<boolean> {
    const accepted = await new Promise<boolean | Error>(resolve => {
      this.began = resolve
      this.line.send(JSON.stringify({ objtree: VERSION, command: 'storage', args: {}, user, note: '' }))
    })
    this.began = undefined
    if (accepted instanceof Error) throw accepted
    return accepted
  }

  ask(said: Said): Promise<unknown> {
    return new Promise((done, failed) => this.say(said, { done, failed }))
  }

  /** The same, in this turn. */
  askNow(said: Said): unknown {
    let answer: { readonly value: unknown } | { readonly error: Error } | undefined
    this.say(said, {
      done: value => {
        answer = { value }
      },
      failed: error => {
        answer = { error }
      },
    })
    const until = performance.now() + PATIENCE
    while (answer === undefined) {
      this.line.wait(Math.max(0, until - performance.now()))
      if (answer === undefined && performance.now() >= until)
        throw new ObjectError('DATABASE_FAILED', `the process that has ${this.directory} open does not answer`)
    }
    return given(answer)
  }

  get open(): boolean {
    return this.line.open
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    this.ended = true
    while (this.line.open && this.waiting.size > 0) await this.line.more()
    this.line.close()
    while (this.line.open) await this.line.more()
  }

  private say(said: Said, waiting: Waiting): void {
    if (this.ended || !this.line.open) {
      waiting.failed(this.gone())
      return
    }
    this.last += 1
    this.waiting.set(this.last, waiting)
    this.line.send(JSON.stringify({ id: this.last, ...said }))
  }

  private hear({ id, value, error, committed, accepted }: Reply): void {
    if (committed !== undefined) {
      const entry = receivedEntry(committed)
      for (const listener of this.listeners) listener(entry)
    } else if (id === undefined) this.began?.(accepted ?? (error === undefined ? false : errorOf(error)))
    else {
      const waiting = this.waiting.get(id)
      this.waiting.delete(id)
      if (error === undefined) waiting?.done(value)
      else waiting?.failed(errorOf(error))
    }
  }

  private lost(): void {
    this.release()
    this.began?.(false)
    const waiting = [...this.waiting.values()]
    this.waiting.clear()
    for (const { failed } of waiting) failed(this.gone())
  }

  private gone(): ObjectError {
    if (this.ended) return new ObjectError('DATABASE_CLOSED', `the database ${this.directory} has been closed`)
    return new ObjectError(
      'DATABASE_CLOSED',
      `the process that had ${this.directory} open has ended; what was being committed may have been, 'objtree log' tells`,
    )
  }
}

function given(answer: { readonly value: unknown } | { readonly error: Error }): unknown {
  if ('error' in answer) throw answer.error
  return answer.value
}
