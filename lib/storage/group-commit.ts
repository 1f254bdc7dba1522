/**
 * Group commit: one write is in flight at a time. What is accepted meanwhile waits, and goes into the next batch together: one synced
 * batch, one fsync, in the order in which it was accepted. So what is on disk is always a prefix of what was accepted.
 *
 * If a batch fails, everything accepted since may rest on it, so all of it fails too.
 */
import { type Level, type Operation, writeBatch } from './level.ts'
import type { TransactionEntry } from './storage.ts'

/** A write that waits for its turn: of a transaction, or of a pack that removes objects. */
interface Accepted {
  readonly entry: TransactionEntry | undefined
  readonly operations: readonly Operation[]
  resolve(): void
  reject(error: unknown): void
}

export interface GroupCommitHost {
  /** A batch is durable: it has these transactions and so many bytes. Called before the promises of its writes resolve. */
  written(entries: readonly TransactionEntry[], bytes: number): void
  /** A batch could not be written; nothing that was accepted will be. @returns the error that all of it is rejected with */
  failed(cause: unknown): unknown
}

export class GroupCommit {
  private readonly level: Level
  private readonly host: GroupCommitHost
  private waiting: Accepted[] = []
  private writing: Promise<void> | undefined

  constructor(level: Level, host: GroupCommitHost) {
    this.level = level
    this.host = host
  }

  /** Accepts a write; `entry` if it is a transaction's. @returns when it is durable */
  enqueue(operations: readonly Operation[], entry?: TransactionEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ entry, operations, resolve, reject })
      this.writing ??= this.write()
    })
  }

  /** Waits until all that was accepted so far is durable, or has failed. */
  async settled(): Promise<void> {
    if (this.writing !== undefined) await this.enqueue([]).catch(() => undefined)
  }

  /** Waits until nothing is being written. It may never be so, unless new writes are held back. */
  async drained(): Promise<void> {
    while (this.writing !== undefined) await this.writing
  }

  /** Writes what waits, batch after batch, until nothing does. */
  private async write(): Promise<void> {
    while (this.waiting.length > 0) {
      const group = this.waiting
      this.waiting = []
      try {
        const operations = group.length === 1 ? group[0]!.operations : group.flatMap(each => each.operations)
        await (operations.length > 0 ? writeBatch(this.level, operations, { sync: true }) : undefined)
      } catch (error) {
        const failed = [...group, ...this.waiting]
        this.waiting = []
        const failure = this.host.failed(error)
        for (const each of failed) each.reject(failure)
        continue
      }
      this.host.written(
        group.flatMap(({ entry }) => entry ?? []),
        sizeOf(group),
      )
      for (const each of group) each.resolve()
    }
    this.writing = undefined
  }
}

function sizeOf(group: readonly Accepted[]): number {
  let bytes = 0
  for (const { operations } of group) for (const [key, value] of operations) bytes += key.length + (value?.length ?? 0)
  return bytes
}
