/**
 * A database that another process has open, and this one works in. What goes through the whole of it is done by the other process, as for the
 * commands of the same names, and so is `undo`. A pack does not tell its progress.
 */
import { resolve } from 'node:path'
import {
  Database,
  type DatabaseStats,
  type Moment,
  type PackOptions,
  type PackResult,
  type RecordCounts,
} from '../../lib/index.ts'
import type { Storage } from '../../lib/storage/storage.ts'
import { type Application, type BackupResult, ObjectError, type VerifyResult } from '../../objects/index.ts'
import { ask } from '../ask.ts'

/** Objects that a connection keeps at hand, and their bytes: what is loaded again has to be asked for. */
const CACHE = { cacheSize: 20_000, cacheBytes: 64 * 1024 * 1024 }

interface Call {
  readonly user?: string
  readonly note?: string
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((done: number) => void) | undefined
}

type Progressing = Pick<Call, 'progress'>
type Stats = Omit<DatabaseStats, 'last' | 'packed'> & {
  readonly last: { readonly tid: number; readonly time: string }
  readonly packed: { readonly tid: number; readonly time: string } | null
}

export class GuestDatabase extends Database<Application> {
  private readonly user: string

  constructor(storage: Storage, user: string) {
    super(storage, CACHE)
    this.user = user
  }

  override async undo(tids: number | readonly number[], options: Omit<Call, 'progress'> = {}): Promise<number> {
    return (await this.call<{ tid: number }>('undo', { tids: [tids].flat() }, options)).tid
  }

  override async assertUndoable(tids: number | readonly number[]): Promise<void> {
    await this.call('undo', { tids: [tids].flat(), dryRun: true })
  }

  override async pack({ before = new Date(), gc = true }: PackOptions & { before?: Moment } = {}): Promise<PackResult> {
    const moment = before instanceof Date ? before.toISOString() : String(before)
    const { packed, objects, revisions, transactions } = await this.call<PackResult>('pack', { before: moment, gc })
    return { packed, objects, revisions, transactions }
  }

  override async upgrade(options: Omit<Call, 'signal'> = {}): Promise<number> {
    return (await this.call<{ upgraded: number }>('upgrade', {}, options)).upgraded
  }

  override async stats(options: Progressing = {}): Promise<DatabaseStats> {
    const { id, objects, revisions, bytes, transactions, blobs, last, packed, classes, damaged } =
      await this.call<Stats>('stats', {}, options)
    return {
      id,
      objects,
      revisions,
      bytes: { objects: bytes.objects, revisions: bytes.revisions },
      transactions,
      blobs,
      last: { tid: last.tid, time: new Date(last.time) },
      packed: packed === null ? undefined : { tid: packed.tid, time: new Date(packed.time) },
      classes,
      damaged,
    }
  }

  override async countRecords(): Promise<RecordCounts> {
    const { objects, revisions, transactions } = await this.stats()
    return { objects, revisions, transactions }
  }

  override backup(directory: string, options: Progressing = {}): Promise<BackupResult> {
    return this.call('backup', { to: resolve(directory) }, options)
  }

  override verify(options: Progressing = {}): Promise<VerifyResult> {
    return this.call('verify', {}, options)
  }

  private async call<T>(
    command: string,
    args: object,
    { user = this.user, note = `objtree shell: ${command}`, signal, progress }: Call = {},
  ): Promise<T> {
    this.assertOpen()
    const ended = new AbortController()
    const listener = {
      watched: progress !== undefined,
      signal: signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal]),
      emit: async () => undefined,
      progress({ done }: { done: number }) {
        try {
          progress?.(done)
        } catch (error) {
          ended.abort(error)
        }
      },
    }
    const answered = await ask(this.location, { command, args, user, note }, listener)
    if (answered !== undefined) return answered.result as T
    throw new ObjectError('DATABASE_CLOSED', `the process that had ${this.location} open has ended`)
  }
}
