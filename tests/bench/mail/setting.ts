/** What each family of mail benchmarks is given, and what it returns. */
import type { Bench } from '../command.ts'
import type { Row } from '../report.ts'
import type { Nullmailer } from './nullmailer.ts'
import type { Postfix } from './postfix.ts'
import type { Sink } from './sink.ts'

export interface Setting extends Bench {
  /** Messages of a drain. */
  readonly count: number
  /** Their sizes, in KB. */
  readonly sizes: readonly number[]
  /** Numbers of connections. */
  readonly connections: readonly number[]
  readonly rounds: number
  /** The server that takes everything at once. */
  readonly sink: Sink
  readonly postfix: Postfix | undefined
  readonly nullmailer: Nullmailer | undefined
}

export type Family = (setting: Setting) => Promise<Row[]>
