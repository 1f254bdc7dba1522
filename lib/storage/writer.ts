/**
 * The way of all that is written to the LevelDB of a storage. A write that failed is the last one until LevelDB is opened again (reopening.ts): it
 * may have left a part of it in its log, goes on behind that as soon as there is space, and when it reads the log again takes nothing of
 * what stands behind a torn record (db/log_writer.cc, db/log_reader.cc): commits that were durable would be gone.
 */
import { failedBefore, failedWrite } from './damage.ts'
import { Batch, type Level, type Operation, optionsFor } from './level.ts'

export class Writer {
  private readonly level: Level
  private readonly location: string
  private readonly options: object
  private failure: { readonly cause: unknown } | undefined
  /** How often LevelDB was opened again. */
  private openings = 0
  /** Told of the first failure since LevelDB was opened. */
  onFailure: ((cause: unknown) => void) | undefined

  constructor(level: Level, location: string) {
    this.level = level
    this.location = location
    this.options = optionsFor(level)
  }

  batch(): Batch {
    return new Batch(this.level, this.options)
  }

  /** Writes a batch as one indivisible step. @throws {ObjectError} DATABASE_FAILED */
  async write(batch: Batch, options: { readonly sync: boolean }): Promise<void> {
    if (this.failure !== undefined) void batch.close()
    this.assertSound()
    const { openings } = this
    try {
      await batch.write(options)
    } catch (cause) {
      this.fail(cause)
      throw failedWrite(this.location, cause, this.goesOn)
    }
    // it may stand behind what failed meanwhile
    if (this.failure !== undefined) throw failedWrite(this.location, this.failure.cause, this.goesOn)
    if (openings !== this.openings) throw failedWrite(this.location, 'another write failed', this.goesOn)
  }

  private fail(cause: unknown): void {
    if (this.failure !== undefined) return
    this.failure = { cause }
    this.onFailure?.(cause)
  }

  /** Writes operations as one indivisible step. @throws {ObjectError} DATABASE_FAILED */
  async writeAll(operations: Iterable<Operation>, options: { readonly sync: boolean }): Promise<void> {
    const batch = this.batch()
    for (const operation of operations) batch.add(operation)
    await this.write(batch, options)
  }

  get isSound(): boolean {
    return this.failure === undefined
  }

  /** @throws {ObjectError} DATABASE_FAILED as long as nothing can be written */
  assertSound(): void {
    if (this.failure !== undefined) throw failedBefore(this.location, this.failure.cause, this.goesOn)
  }

  /** LevelDB was opened again. */
  reopened(): void {
    this.failure = undefined
    this.openings += 1
  }

  private get goesOn(): boolean {
    return this.onFailure !== undefined
  }
}
