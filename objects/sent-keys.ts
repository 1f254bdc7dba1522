/**
 * Idempotency keys: which messages were sent under which key, so that a repeated request sends once.
 *
 * One object of the database, reached from the root by an attribute that no listing shows. A key is entered by the transaction that sends,
 * when it commits: an abort or a rollback has never entered it, and of two transactions with the same key one conflicts, runs again and
 * finds it. A key counts until its time is over; after that it is removed, in transactions of their own, a bounded number in each.
 */
import { createHash } from 'node:crypto'
import { BTree, type Database, isRetryable, ObjectError, Persistent, registerClass, shown } from '../lib/index.ts'

/** A key as it is kept: a hash of host and key, so that entries are small and spread evenly. */
export type KeyName = string

const MAX_LENGTH = 200
/** Keys that one transaction removes. */
const BATCH = 500

/** @throws {ObjectError} INVALID_ARGUMENT */
export function checkKey(key: unknown): string {
  const isKey = typeof key === 'string' && key !== '' && key.length <= MAX_LENGTH && key.isWellFormed()
  if (isKey && !/\p{Cc}/u.test(key)) return key
  const found = typeof key === 'string' && key.length > MAX_LENGTH ? `${key.length} characters` : shown(key)
  throw new ObjectError(
    'INVALID_ARGUMENT',
    `key: expected 1 to ${MAX_LENGTH} characters, none of them a control character, found ${found}`,
  )
}

/** @param owner the oid of the mail host, or a server: each has keys of its own */
export function nameOfKey(owner: number | string, key: string): KeyName {
  return createHash('sha256').update(`${owner} ${key}`).digest('base64url').slice(0, 22)
}

export class SentKeys extends Persistent {
  /** Until when it counts, in milliseconds since 1970, a blank, and the Message-ID. */
  private readonly sent = new BTree<string>()
  /** The same keys by the day on which they end: the day, a blank, the name. */
  private readonly ends = new BTree<true>()

  get size(): number {
    return this.sent.size
  }

  /** The Message-ID of what was sent under a key that still counts. */
  find(name: KeyName, now: number): string | undefined {
    const [until, messageId] = this.sent.get(name)?.split(/ (.*)/s) ?? []
    return Number(until) > now ? messageId : undefined
  }

  enter(name: KeyName, messageId: string, until: number): void {
    const before = this.sent.get(name)
    if (before !== undefined) this.ends.delete(endOf(Number.parseInt(before, 10), name))
    this.sent.set(name, `${until} ${messageId}`)
    this.ends.set(endOf(until, name), true)
  }

  /** Removes keys that ended before the day of `now`, at most `most`. @returns how many */
  expire(now: number, most: number): number {
    const over = [...this.ends.keys({ to: dayOf(now), limit: most })] as string[]
    for (const end of over) {
      this.ends.delete(end)
      this.sent.delete(end.slice(end.indexOf(' ') + 1))
    }
    return over.length
  }
}

const dayOf = (time: number): string => new Date(time).toISOString().slice(0, 10)
const endOf = (until: number, name: KeyName): string => `${dayOf(until)} ${name}`

type Root = Persistent & { __sentKeys__?: SentKeys }

/** The keys of a database; undefined as long as there has been none. */
export function sentKeysOf(root: Persistent): SentKeys | undefined {
  return (root as Root).__sentKeys__
}

export function sentKeysForWriting(root: Persistent): SentKeys {
  const owner = root as Root
  owner.__sentKeys__ ??= new SentKeys()
  return owner.__sentKeys__
}

/** Removes keys whose time is over: once after the database is opened, and then once a day, as long as keys are used. */
export class KeyExpiry {
  private readonly database: Database
  private day = ''
  private running: Promise<void> = Promise.resolve()
  private closed = false

  constructor(database: Database) {
    this.database = database
    database.beforeClose(() => {
      this.closed = true
      return this.running
    })
  }

  /** To be called when a key was entered. */
  start(): void {
    const today = dayOf(Date.now())
    if (this.day === today) return
    this.day = today
    this.running = this.running.then(() => this.run())
  }

  private async run(): Promise<void> {
    const expire = (root: Persistent) => sentKeysOf(root)?.expire(Date.now(), BATCH) ?? 0
    try {
      while (!this.closed && (await this.database.transact(expire, { note: 'keys of sent mail expired' })) === BATCH);
    } catch (error) {
      const isOver = this.closed || (error instanceof ObjectError && error.code === 'DATABASE_CLOSED')
      if (isOver) return
      // it is tried again with the next key
      this.day = ''
      if (!isRetryable(error))
        process.emitWarning(`keys of sent mail could not be removed: ${(error as Error).message}`, 'MaildropWarning')
    }
  }
}

registerClass('SentKeys', SentKeys)
