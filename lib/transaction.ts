/**
 * A transaction: what one connection, and the data managers that joined, change together or not at all.
 *
 *      active ── commit ──▶ committing ──▶ committed
 *        │  │                   │ error
 *        │  └── doom ─▶ doomed  ▼
 *        │                │   failed
 *        └───── abort ────┴─────┴──────▶ aborted
 *
 * Order of a commit: the hooks given to `beforeCommit`; `prepare` of each data manager, in the order of `sortKey`, which may
 * refuse by throwing and may add outbox rows; one indivisible, synced write of all changed objects and rows; `finish` of each data
 * manager; the hooks given to `afterCommit`, which are told true. When anything before the write's end fails, the transaction
 * is `failed`: it is neither stored nor repeatable, and has to be aborted. Nothing that goes wrong in an abort keeps the rest of it from being done.
 */
import { checkFunction, shown } from './arguments.ts'
import { messageOf, ObjectError } from './errors.ts'

/** Something besides the database that takes part in a transaction (ZODB's IDataManager). */
export interface DataManager {
  /** Data managers prepare in the order of their keys; it is read when one joins. */
  readonly sortKey: string
  /** First phase: makes sure that `finish` can only succeed. Throws to refuse. May add rows to `tx.outbox`. */
  prepare?(tx: Transaction): void | Promise<void>
  /** The transaction is durable. What it throws is reported as a warning and changes nothing. */
  finish?(tx: Transaction): void
  /** The transaction will not happen, or (`tx.inDoubt`) nobody knows yet whether it did: takes back whatever was done. */
  abort?(tx: Transaction): void | Promise<void>
  /** It was in doubt, and now it is known: it is durable, and `finish` was not called; or it is not, and what was kept for it can go. */
  decided?(tx: Transaction, happened: boolean): void | Promise<void>
  /** Remembers the present state. A data manager without it cannot be rolled back. */
  savepoint?(): { rollback(): void }
}

export interface Savepoint {
  /** Takes back everything since; may be used again. @throws {ObjectError} SAVEPOINT_INVALID, TRANSACTION_FAILED */
  rollback(): void
}

/** The connection's part in its transaction. */
export interface TransactionOwner {
  /** Stores what the connection changed, and the outbox rows. @returns nothing where there is nothing to store */
  store(tx: Transaction): Promise<void> | undefined
  discard(): void
  /** `assertKnown` throws SAVEPOINT_INVALID if there is no going back to it. */
  savepoint(): Savepoint & { assertKnown(): void }
  /** The transaction is over; `committed` tells how. */
  ended(tx: Transaction): void
}

export type TransactionStatus = 'active' | 'doomed' | 'committing' | 'failed' | 'committed' | 'aborted'

type Hook = () => void | Promise<void>

/** What a connection, and the data managers that joined, change together or not at all: `tx` of `db.transact`, `connection.transaction`. */
export class Transaction {
  /** Who makes the change; kept with the transaction. */
  user = ''
  /** Why; kept with the transaction. */
  note = ''
  /** Further data that is kept with the transaction, by name; plain values (ZODB's extension). */
  readonly extension: Record<string, unknown> = {}
  /** Rows that are stored with the transaction; data managers add theirs in `prepare`. */
  readonly outbox = new Map<string, Uint8Array>()
  /** The id under which it became durable; undefined as long as it has not, or if there was nothing to store. */
  tid: number | undefined
  /** It failed while it was being written, and may be on disk nevertheless: what it would need is kept until that is known. */
  inDoubt = false
  /**
   * Of one that is in doubt: whether it is durable, as soon as the database can be written again; undefined if it is closed before, or is not
   * opened again by itself (a database in memory, a guest's): then the next opening tells.
   */
  outcome: Promise<boolean | undefined> | undefined
  private state: TransactionStatus = 'active'
  /** Its commit, once that has begun: the hooks before it run once. */
  private committing: Promise<void> | undefined
  /** It was aborted while data managers prepared. */
  private abandoned = false
  private storing: Promise<void> | undefined
  /** Why it failed. */
  private failure: unknown
  private readonly owner: TransactionOwner
  private readonly managers: DataManager[] = []
  private readonly sortKeys = new Map<DataManager, string>()
  private byRole: Map<unknown, DataManager> | undefined
  private readonly before: Record<'commit' | 'abort', Hook[]> = { commit: [], abort: [] }
  private readonly afterCommitHooks: ((committed: boolean) => void | Promise<void>)[] = []
  private readonly afterAbortHooks: Hook[] = []

  constructor(owner: TransactionOwner) {
    this.owner = owner
  }

  /** Whether something besides the objects takes part, and would be lost without a commit. */
  get isJoined(): boolean {
    return this.managers.length > 0 || this.outbox.size > 0
  }

  get status(): TransactionStatus {
    return this.state
  }

  /**
   * Lets `manager` take part.
   * @throws {ObjectError} TRANSACTION_FAILED if the transaction is being committed, or has ended; INVALID_ARGUMENT without a sort key
   */
  join(manager: DataManager): void {
    this.joined(manager, 'join', () => manager)
  }

  /**
   * The one data manager that takes part in that role; made, and let take part, at the first call. One that left with a rollback is
   * made anew.
   * @param role what tells it from others, such as its class
   * @param action what the caller is about to do, for the message
   * @throws {ObjectError} TRANSACTION_FAILED if it is too late for that to be part of the transaction; INVALID_ARGUMENT
   */
  joined<M extends DataManager>(role: unknown, action: string, make: () => M): M {
    if (this.state !== 'doomed') this.assertOpen(action)
    this.byRole ??= new Map()
    const known = this.byRole.get(role)
    if (known !== undefined) return known as M
    const manager = make()
    const sortKey: unknown = manager?.sortKey
    if (typeof sortKey !== 'string')
      throw new ObjectError(
        'INVALID_ARGUMENT',
        `${action}: a data manager needs a sortKey, a text that tells when it prepares among others; found ${shown(sortKey)}`,
      )
    for (const part of ['prepare', 'finish', 'abort', 'savepoint'] as const)
      if (manager[part] !== undefined)
        checkFunction(`${action}: ${part} of data manager ${shown(sortKey)}`, manager[part])
    this.sortKeys.set(manager, sortKey)
    this.managers.push(manager)
    this.byRole.set(role, manager)
    return manager
  }

  /**
   * Runs `hook` at the beginning of the commit; it may still change objects, and refuse by throwing.
   * @throws {ObjectError} here and for the other hooks: INVALID_ARGUMENT if it is no function
   */
  beforeCommit(hook: Hook): void {
    this.before.commit.push(checkFunction('beforeCommit', hook))
  }

  /** Runs `hook` after the commit, told whether it succeeded. Its errors are reported as warnings. */
  afterCommit(hook: (committed: boolean) => void | Promise<void>): void {
    this.afterCommitHooks.push(checkFunction('afterCommit', hook))
  }

  beforeAbort(hook: Hook): void {
    this.before.abort.push(checkFunction('beforeAbort', hook))
  }

  afterAbort(hook: Hook): void {
    this.afterAbortHooks.push(checkFunction('afterAbort', hook))
  }

  /** Makes sure that the transaction cannot be committed. */
  doom(): void {
    this.assertOpen('doom')
    this.state = 'doomed'
  }

  /**
   * Makes everything durable. It resolves when the disk has it.
   * @throws {ObjectError} CONFLICT, TRANSACTION_DOOMED, TRANSACTION_FAILED, INVALID_VALUE, INVALID_REFERENCE, UNKNOWN_CLASS,
   *   DATABASE_FAILED; whatever a hook or a data manager throws
   */
  async commit(): Promise<void> {
    this.assertOpen('commit')
    if (this.committing !== undefined)
      throw new ObjectError('TRANSACTION_FAILED', 'commit: the transaction is being committed already; await that')
    this.committing = this.run()
    await this.committing
  }

  /**
   * Commits, unless that is under way or has been done: then waits for how it ends. Does nothing to one that was aborted.
   * @returns whether it was done by this call
   */
  async complete(): Promise<boolean> {
    const mine = this.committing === undefined && this.state !== 'aborted'
    await (mine ? this.commit() : this.committing)
    return mine
  }

  private async run(): Promise<void> {
    try {
      if (this.before.commit.length > 0) await this.runBeforeCommit()
      this.assertOpen('commit')
      this.state = 'committing'
      if (this.managers.length > 0) await this.prepare()
      if (this.abandoned)
        throw new ObjectError('TRANSACTION_FAILED', 'commit: the transaction was aborted while it was being committed')
      this.storing = this.owner.store(this)
      await this.storing
    } catch (error) {
      if (this.state === 'active' || this.state === 'committing') this.fail(error)
      this.inDoubt = (error as { inDoubt?: unknown } | undefined)?.inDoubt === true
      void this.outcome?.then(happened => this.decided(happened))
      await this.runAfterCommit(false)
      if (this.abandoned) await this.abort()
      throw error
    }
    this.state = 'committed'
    if (this.managers.length > 0) await this.finish()
    await quietly('the end of a transaction', () => this.owner.ended(this))
    if (this.afterCommitHooks.length > 0) await this.runAfterCommit(true)
  }

  /**
   * Takes everything back. Does nothing to a transaction that has ended. What goes wrong on the way is reported as a warning. While the
   * transaction is being written it waits for the outcome, and takes back what failed; while data managers prepare it makes the commit fail, which
   * then takes everything back.
   */
  async abort(): Promise<void> {
    await this.storing?.catch(() => undefined)
    if (this.state === 'committed' || this.state === 'aborted') return
    if (this.state === 'committing') {
      this.abandoned = true
      return
    }
    this.state = 'aborted'
    for (const hook of this.before.abort) await quietly('a beforeAbort hook', hook)
    await quietly('taking back changed objects', () => this.owner.discard())
    for (const manager of this.ordered()) await quietly('abort of a data manager', () => manager.abort?.(this))
    await quietly('the end of a transaction', () => this.owner.ended(this))
    for (const hook of this.afterAbortHooks) await quietly('an afterAbort hook', hook)
  }

  /** Marks a point to which the transaction can go back. @throws what encoding the changed objects throws */
  savepoint(): Savepoint {
    this.assertOpen('savepoint')
    const objects = this.owner.savepoint()
    const managers = new Map(this.managers.map(manager => [manager, manager.savepoint?.()]))
    return {
      rollback: () => {
        this.assertOpen('rollback')
        objects.assertKnown()
        try {
          objects.rollback()
          for (const manager of [...this.managers]) this.rollBack(manager, managers)
        } catch (error) {
          // some have gone back and some have not
          this.fail(error)
          throw error
        }
      },
    }
  }

  private rollBack(manager: DataManager, points: ReadonlyMap<DataManager, Savepoint | undefined>): void {
    const point = points.get(manager)
    if (point !== undefined) point.rollback()
    else if (!points.has(manager)) this.leave(manager)
    else
      throw new ObjectError(
        'TRANSACTION_FAILED',
        `data manager '${manager.sortKey}' cannot go back to a savepoint; abort the transaction`,
      )
  }

  /** A data manager that joined after the savepoint has nothing left to do. */
  private leave(manager: DataManager): void {
    this.managers.splice(this.managers.indexOf(manager), 1)
    for (const [role, each] of this.byRole ?? []) if (each === manager) this.byRole?.delete(role)
    void quietly('abort of a data manager', () => manager.abort?.(this))
  }

  private async runBeforeCommit(): Promise<void> {
    for (const hook of this.before.commit) await hook()
  }

  private async prepare(): Promise<void> {
    for (const manager of this.ordered()) await manager.prepare?.(this)
  }

  private async finish(): Promise<void> {
    for (const manager of this.ordered()) await quietly('finish of a data manager', () => manager.finish?.(this))
  }

  private async decided(happened: boolean | undefined): Promise<void> {
    if (happened === undefined) return
    for (const manager of this.ordered())
      await quietly('the end of doubt of a data manager', () => manager.decided?.(this, happened))
  }

  private ordered(): DataManager[] {
    const keyOf = (manager: DataManager): string => this.sortKeys.get(manager) as string
    return this.managers.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : keyOf(a) > keyOf(b) ? 1 : 0))
  }

  private async runAfterCommit(committed: boolean): Promise<void> {
    for (const hook of this.afterCommitHooks) await quietly('an afterCommit hook', () => hook(committed))
  }

  private assertOpen(action: string): void {
    if (this.state === 'active') return
    if (this.state === 'doomed')
      throw new ObjectError('TRANSACTION_DOOMED', `${action}: the transaction was doomed; it can only be aborted`)
    if (this.state === 'failed')
      throw new ObjectError(
        'TRANSACTION_FAILED',
        `${action}: the transaction has failed (${messageOf(this.failure)}); abort it and begin another`,
        { cause: this.failure },
      )
    const now = { committing: 'is being committed', committed: 'has been committed', aborted: 'was aborted' }[
      this.state
    ]
    throw new ObjectError('TRANSACTION_FAILED', `${action}: the transaction ${now}; begin another`)
  }

  private fail(why: unknown): void {
    this.state = 'failed'
    this.failure = why
  }
}

/** Runs what may not disturb the transaction any more. */
async function quietly(what: string, run: () => unknown): Promise<void> {
  try {
    await run()
  } catch (error) {
    process.emitWarning(`${what} failed: ${messageOf(error)}`, 'TransactionWarning')
  }
}
