/**
 * What there is to send to one server: its spools take turns. From one that could not be read or written nothing is taken for a
 * while, and the others go on.
 */
import { concernsOneFile } from '../errors.ts'
import type { Claims } from '../spool/claim.ts'
import type { Candidate, Intake } from './intake.ts'
import { claimJob, type Job, type JobContext } from './job.ts'
import type { Trouble } from './trouble.ts'

/** One spool that is served. */
export interface Source {
  readonly intake: Intake
  readonly claims: Claims
  readonly trouble: Trouble
}

/** A file that is ready, still in its place. */
export interface Found {
  readonly candidate: Candidate
  readonly source: Source
}

export interface Supply {
  /** Names waiting to be looked at. */
  readonly backlog: number
  /** The next file of all spools in turn. */
  next(): Promise<Found | undefined>
  /** Claims a file; undefined if it is no message, or not to be had. */
  claim(found: Found): Promise<Job | undefined>
  /** Reads what is new in all spools. */
  scanNew(): void
}

/** Milliseconds for which nothing is taken from a spool that could not be read or written. */
const TROUBLE_TIME = 1000

export function openSupply(sources: readonly Source[], context: JobContext): Supply {
  /** Spools that could not be read or written, and until when nothing is taken from them. */
  const troubled = new Map<Source, number>()
  let turn = 0

  const rests = (source: Source): boolean => performance.now() < (troubled.get(source) ?? 0)

  const setAside = (source: Source, error: unknown): void => {
    source.trouble.begin('delivery', error)
    troubled.set(source, performance.now() + TROUBLE_TIME)
  }

  return {
    get backlog() {
      return sources.reduce((sum, source) => sum + (rests(source) ? 0 : source.intake.backlog), 0)
    },
    async next() {
      for (let i = 0; i < sources.length; i++) {
        const source = sources[turn++ % sources.length]!
        if (rests(source)) continue
        try {
          const candidate = await source.intake.next()
          if (candidate !== undefined) return { candidate, source }
        } catch (error) {
          setAside(source, error)
        }
      }
      return undefined
    },
    async claim({ candidate, source }) {
      try {
        const job = await claimJob(candidate, source.claims, context)
        source.intake.done(candidate)
        troubled.delete(source)
        source.trouble.end('delivery')
        return job
      } catch (error) {
        if (concernsOneFile(error)) source.intake.leave(candidate, error)
        else {
          source.intake.putBack(candidate)
          setAside(source, error)
        }
        return undefined
      }
    },
    scanNew() {
      for (const { intake } of sources) intake.scanNew()
    },
  }
}
