/**
 * Group commit: one batch is written at a time. What is accepted meanwhile is put into the next one together: one synced
 * batch, one fsync, in the order in which it was accepted. So what is on disk is always a prefix of what was accepted.
 *
 * If a batch fails, everything accepted since may rest on it, so all of it fails too.
 */
import type { Oid } from '../ids.ts'
import type { WholeRecord } from '../record.ts'
import type { Batch } from './level.ts'
import type { Commit, TransactionEntry } from './storage.ts'
import type { Writer } from './writer.ts'

/** What a part of a batch does: that of a transaction, or of a pack that removes objects. */
export interface Part {
  /** The transaction. */
  readonly entry?: TransactionEntry | undefined
  /** The objects' new revisions. */
  readonly records?: readonly WholeRecord[] | undefined
  /** The objects that are removed. */
  readonly removed?: readonly Oid[] | undefined
  /** What was asked for. */
  readonly commit?: Commit | undefined
}

interface Accepted extends Part {
  readonly result: unknown
  resolve(result: unknown): void
  reject(error: unknown): void
}

export interface GroupCommitHost {
  /** A batch is about to be written. */
  writing(): void
  /** A batch of so many bytes is durable. Called before the promises of its parts resolve. */
  written(parts: readonly Part[], bytes: number): void
  /** A batch could not be written; nothing of these parts, which are all that was accepted, will be. @returns the error that all are rejected with */
  failed(cause: unknown, parts: readonly Part[]): unknown
}

export class GroupCommit {
  private readonly writer: Writer
  private readonly host: GroupCommitHost
  private next: Batch | undefined
  private waiting: Accepted[] = []
  private writing: Promise<void> | undefined

  constructor(writer: Writer, host: GroupCommitHost) {
    this.writer = writer
    this.host = host
  }

  /** The batch that is written next. What is put into it has to be accepted in the same turn. */
  get batch(): Batch {
    this.next ??= this.writer.batch()
    return this.next
  }

  /** Accepts what was put into the batch. @returns `result`, when it is durable */
  accept<Result>({ entry, records, removed, commit }: Part, result: Result): Promise<Result> {
    return new Promise<Result>((resolve, reject) => {
      this.waiting.push({
        entry,
        records,
        removed,
        commit,
        result,
        resolve: resolve as (result: unknown) => void,
        reject,
      })
      this.writing ??= this.write()
    })
  }

  /** Waits until all that was accepted so far is durable, or has failed. */
  async settled(): Promise<void> {
    if (this.writing !== undefined) await this.accept({}, undefined).catch(() => undefined)
  }

  /** Waits until nothing is being written. It may never be so, unless new writes are held back. */
  async drained(): Promise<void> {
    while (this.writing !== undefined) await this.writing
  }

  /** Writes what waits, batch after batch, until nothing does. */
  private async write(): Promise<void> {
    while (this.waiting.length > 0) {
      const group = this.waiting
      const batch = this.next
      this.waiting = []
      this.next = undefined
      try {
        this.host.writing()
        // also where there is nothing to write it goes on in a later turn
        await (batch && this.writer.write(batch, SYNC))
        this.host.written(group, batch?.bytes ?? 0)
      } catch (error) {
        const failed = [...group, ...this.dropped()]
        const failure = this.host.failed(error, failed)
        for (const each of failed) each.reject(failure)
        continue
      }
      for (const each of group) each.resolve(each.result)
    }
    this.writing = undefined
  }

  /** Gives up what waits to be written. @returns what was accepted of it */
  private dropped(): Accepted[] {
    const { waiting } = this
    void this.next?.close()
    this.next = undefined
    this.waiting = []
    return waiting
  }
}

const SYNC = { sync: true }
