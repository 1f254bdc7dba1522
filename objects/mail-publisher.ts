/**
 * Publishes committed mail in the spool, exactly once, whatever moment the process dies at.
 *
 *      outbox row        held file           spool
 *      pending           –                   –           the transaction is durable
 *      pending           written, synced     –
 *      released          written, synced     –           (row synced: from here on the file is not written again)
 *      released          –                   published   (renamed; directory synced)
 *      –                 –                   published
 *
 * Nothing of this is done before the page has returned. Mails wait in a queue and go through the steps many at a time, so that the syncs are shared:
 * the first after a pause goes at once, those that come on its heels are gathered. A mail is in one place at a time: in the
 * queue, in the batch at work, or among those to be tried again, which are read back from their rows. What could not be published
 * when the process ends is published when the database is opened again.
 *
 * A row that was found in the database may be of anybody's making. It gets its mail into spools only: those that are configured, those that mail
 * of this process went to, and directories that are laid out as one already. No other directory is made or written to for it.
 */
import { channel } from 'node:diagnostics_channel'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Database } from '../lib/index.ts'
import {
  discardHeld,
  ensureSpool,
  isSpool,
  listHeld,
  releaseHeld,
  syncHeld,
  syncSpool,
  writeHeld,
} from '../maildrop/index.ts'
import { MAIL_ROWS, type MailRow, mailKey, mailRow, type OutgoingMail, readMailRow } from './outgoing-mail.ts'

/** Where the steps of publishing are reported, as `{ step, ids }`, synchronously. */
export const PUBLISH_CHANNEL = 'maildrophost:publish'
export type PublishStep = 'committed' | 'held' | 'released' | 'renamed' | 'done'

/** Rows that name the spools in which this database may have held files. */
const SPOOL_ROWS = 'spool/'
/** Mails that go through the steps together. */
const BATCH = 64
/** Milliseconds from one batch to the next, unless that is full earlier. */
const GATHERING = 10
/** Files that are written at a time. Commits, too, need a thread of Node's pool, which has four, to get to the disk. */
const LANES = 2
/** Mails beyond this number of bytes in the queue are read back from their rows when their turn comes. */
const QUEUE_BYTES = 32 * 1024 * 1024
/** Milliseconds to the next attempt after one, two, three failures in a row; the last one repeats. */
const RETRY_DELAYS = [1_000, 5_000, 30_000] as const

const steps = channel(PUBLISH_CHANNEL)

/**
 * A mail in the queue: with its bytes, or to be read from its row; `ours` if that was committed while the database was open, `again` if it was tried
 * before.
 */
type Queued = OutgoingMail | { readonly id: string; readonly ours?: boolean; readonly again?: true }

export class MailPublisher {
  readonly publishes: boolean
  private readonly database: Database
  private queue: Queued[] = []
  private queuedBytes = 0
  private again: string[] = []
  private running: Promise<void> | undefined
  /** How many wait for the queue to be empty. */
  private waiting = 0
  /** Ends the gathering. */
  private hurry: (() => void) | undefined
  private lastBatch = Number.NEGATIVE_INFINITY
  private failures = 0
  private timer: NodeJS.Timeout | undefined
  private closed = false
  private readonly recordedSpools = new Set<string>()
  private readonly configured: () => readonly string[]
  /** Spools of mail that was committed while the database was open. */
  private readonly ourSpools = new Set<string>()

  /**
   * @param configured the spools that are configured
   * @param publishes whether it is done here; otherwise by the process that has the database open, of which this one is a guest
   */
  constructor(database: Database, configured: () => readonly string[], publishes = true) {
    this.database = database
    this.configured = configured
    this.publishes = publishes
    database.beforeClose(() => this.close())
  }

  /** Takes over mails whose rows have just become durable. */
  publish(mails: readonly OutgoingMail[]): void {
    if (!this.publishes) return
    report('committed', mails)
    for (const mail of mails) {
      this.ourSpools.add(mail.spool)
      const size = mail.bytes?.length ?? 0
      const keep = this.queuedBytes + size <= QUEUE_BYTES
      if (keep) this.queuedBytes += size
      this.queue.push(keep ? mail : { id: mail.id })
    }
    this.start()
  }

  /** Takes over the mails among rows that a guest has just committed. */
  publishRows(keys: readonly string[]): void {
    for (const key of keys)
      if (key.startsWith(MAIL_ROWS)) this.queue.push({ id: key.slice(MAIL_ROWS.length), ours: true })
    this.start()
  }

  /**
   * To be called before a held file is written ahead of its commit: makes sure that recovery will look into that spool.
   * @throws {MaildropError} if the spool cannot be made
   */
  async recordSpool(spool: string): Promise<void> {
    if (this.recordedSpools.has(spool)) return
    await ensureSpool(spool)
    await this.database.outbox.writeOutbox([[SPOOL_ROWS + spool, new Uint8Array()]], { sync: true })
    this.recordedSpools.add(spool)
  }

  /** Waits until everything that can be published now has been. */
  async settled(): Promise<void> {
    this.waiting += 1
    this.hurry?.()
    while (this.running !== undefined) await this.running
    this.waiting -= 1
  }

  /** Publishes what an earlier process left, and removes its held files that no transaction stands for. */
  async recover(): Promise<void> {
    const expected = new Set<string>()
    for await (const [key] of this.database.outbox.outboxRows(MAIL_ROWS)) expected.add(key.slice(MAIL_ROWS.length))
    for await (const [key] of this.database.outbox.outboxRows(SPOOL_ROWS))
      await this.removeStrays(key.slice(SPOOL_ROWS.length), expected)
    for (const id of expected) this.queue.push({ id })
    this.start()
    await this.settled()
  }

  private async removeStrays(spool: string, expected: ReadonlySet<string>): Promise<void> {
    try {
      for (const id of await listHeld(spool)) {
        if (id.endsWith(this.database.id) && !expected.has(id)) await discardHeld(spool, id)
      }
    } catch (error) {
      warn(`the held files in ${spool} could not be looked through`, error)
    }
  }

  private start(): void {
    if (this.queue.length === 0 || this.closed) return
    if (this.queue.length >= BATCH) this.hurry?.()
    this.running ??= this.drain().finally(() => {
      this.running = undefined
      this.start()
    })
  }

  private async drain(): Promise<void> {
    while (this.queue.length > 0) {
      await this.gather()
      const batch = this.queue.splice(0, BATCH)
      for (const mail of batch) this.queuedBytes -= 'bytes' in mail ? (mail.bytes?.length ?? 0) : 0
      try {
        // after a failed write the row on disk may say more than the one that can be read, until the database can be written again
        if (batch.some(mail => 'again' in mail)) await this.database.outbox.writeOutbox([], { sync: true })
        const rows = await this.rowsOf(batch)
        for (const spool of new Set(rows.map(row => row.spool)))
          await this.work(
            spool,
            rows.filter(row => row.spool === spool),
          )
      } catch (error) {
        this.tryAgain(batch, error)
      }
      this.lastBatch = performance.now()
    }
  }

  /** Waits until the pages that have just committed have returned, and for more mail if there was some a moment ago. */
  private async gather(): Promise<void> {
    const pause = this.lastBatch + GATHERING - performance.now()
    if (pause <= 0 || this.waiting > 0 || this.queue.length >= BATCH) return await nextTurn()
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>(resolve => {
      this.hurry = resolve
      timer = setTimeout(resolve, pause)
    })
    clearTimeout(timer)
    this.hurry = undefined
  }

  private async rowsOf(batch: readonly Queued[]): Promise<MailRow[]> {
    const rows: MailRow[] = []
    for (const mail of batch) {
      if ('spool' in mail) rows.push({ ...mail, released: false })
      else
        for await (const [key, value] of this.database.outbox.outboxRows(mailKey(mail.id))) {
          const row = readMailRow(key, value)
          if (row !== undefined && mail.ours) this.ourSpools.add(row.spool)
          const problem = row === undefined ? `the outbox row ${key} is damaged` : this.spoolProblem(row.spool)
          if (row !== undefined && problem === undefined) rows.push(row)
          else warn(`mail ${mail.id} is not published and its held file, if any, stays`, problem)
        }
    }
    return rows
  }

  private spoolProblem(spool: string): string | undefined {
    if (this.ourSpools.has(spool) || this.configured().includes(spool) || isSpool(spool)) return undefined
    return `its row names ${JSON.stringify(spool)}, which is neither configured nor a spool; configure it, then open the database again`
  }

  /** Takes mails of one spool through the steps as far as they go. */
  private async work(spool: string, rows: readonly MailRow[]): Promise<void> {
    try {
      await ensureSpool(spool)
      const held = await this.each(rows, async ({ id, bytes }) => bytes && writeHeld(spool, id, bytes))
      const pending = held.filter(({ released }) => !released)
      if (pending.length > 0) {
        await syncHeld(spool)
        report('held', pending)
        await this.database.outbox.writeOutbox(
          pending.map(mail => [mailKey(mail.id), mailRow(mail, true)]),
          { sync: true },
        )
        report('released', pending)
      }
      const published = await this.each(held, ({ id }) => releaseHeld(spool, id))
      await syncSpool(spool)
      report('renamed', published)
      await this.database.outbox.writeOutbox(
        published.map(({ id }) => [mailKey(id), undefined]),
        { sync: false },
      )
      report('done', published)
      this.failures = 0
    } catch (error) {
      this.tryAgain(rows, error)
    }
  }

  /** Does a step for all; those for which it failed are tried again later, the others are returned. */
  private async each(rows: readonly MailRow[], step: (row: MailRow) => Promise<unknown>): Promise<MailRow[]> {
    const failures = new Map<MailRow, unknown>()
    const left = rows.values()
    const lane = async () => {
      for (const row of left) await step(row).catch(error => failures.set(row, error))
    }
    await Promise.all(Array.from({ length: LANES }, lane))
    if (failures.size === 0) return [...rows]
    const [error] = failures.values()
    this.tryAgain([...failures.keys()], error)
    return rows.filter(row => !failures.has(row))
  }

  private tryAgain(mails: readonly Queued[], error: unknown): void {
    const known = new Set(this.again)
    for (const { id } of mails) if (!known.has(id)) this.again.push(id)
    const n = this.again.length
    warn(
      `${n} committed ${n === 1 ? 'mail' : 'mails'} could not be published yet; kept in the database and tried again`,
      error,
    )
    if (this.timer !== undefined || this.closed) return
    const delay = RETRY_DELAYS[Math.min(this.failures, RETRY_DELAYS.length - 1)]
    this.failures += 1
    this.timer = setTimeout(() => {
      this.timer = undefined
      this.queue.push(...this.again.splice(0).map(id => ({ id, again: true as const })))
      this.start()
    }, delay).unref()
  }

  private async close(): Promise<void> {
    await this.settled()
    this.closed = true
    clearTimeout(this.timer)
  }
}

function report(step: PublishStep, mails: readonly { readonly id: string }[]): void {
  if (steps.hasSubscribers && mails.length > 0) steps.publish({ step, ids: mails.map(({ id }) => id) })
}

function warn(what: string, error: unknown): void {
  process.emitWarning(`${what}: ${error instanceof Error ? error.message : String(error)}`, 'MaildropWarning')
}
