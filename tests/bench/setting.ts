/** What each family of benchmarks is given, and what it returns. */
import type { Peers } from './peers.ts'
import type { Row } from './report.ts'

export interface Setting {
  readonly quick: boolean
  readonly peers: Peers
  /** Makes a directory, which goes at the end. */
  newDirectory(): string
}

export type Family = (setting: Setting) => Promise<Row[]>
