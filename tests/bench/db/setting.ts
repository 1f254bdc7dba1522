/** What each family of benchmarks is given, and what it returns. */
import type { Bench } from '../command.ts'
import type { Row } from '../report.ts'
import type { Peers } from './peers.ts'

export interface Setting extends Bench {
  readonly peers: Peers
}

export type Family = (setting: Setting) => Promise<Row[]>
