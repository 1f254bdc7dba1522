/** Commits that failed while they were being written, and may be on disk nevertheless, until LevelDB is opened again. */
import type { Oid, Tid } from '../ids.ts'
import type { Part } from './group-commit.ts'
import type { Commit, TransactionEntry } from './storage.ts'

interface Doubt {
  readonly entry: TransactionEntry
  readonly commit: Commit | undefined
  readonly outcome: Promise<boolean | undefined>
  resolve(happened: boolean | undefined): void
}

export class Doubts {
  private doubts: Doubt[] = []

  /** These parts of a batch may have been written. */
  begin(parts: readonly Part[]): void {
    for (const { entry, commit } of parts) {
      if (entry === undefined) continue
      let resolve: Doubt['resolve'] = () => {}
      const outcome = new Promise<boolean | undefined>(given => {
        resolve = given
      })
      this.doubts.push({ entry, commit, outcome, resolve })
    }
  }

  /** Whether a commit was written after all, once that is known; undefined if it is not in doubt. */
  outcomeOf(commit: Commit): Promise<boolean | undefined> | undefined {
    return this.doubts.find(each => each.commit === commit)?.outcome
  }

  /** The objects that they wrote. */
  *oids(): Generator<Oid> {
    for (const { entry } of this.doubts) yield* entry.oids
  }

  /** @param found those that are there; undefined if that will not be known */
  end(found: ReadonlySet<Tid> | undefined): void {
    for (const { entry, resolve } of this.doubts) resolve(found?.has(entry.tid))
    this.doubts = []
  }
}
