/** What the workers for one server share. */
import type { Connections } from './connections.ts'
import type { Destination } from './destination.ts'
import type { JobContext } from './job.ts'
import type { Pipelines } from './pipeline.ts'
import type { Run } from './run.ts'
import type { Supply } from './supply.ts'
import type { Throttle } from './throttle.ts'

export interface Crew {
  readonly context: JobContext
  readonly destination: Destination
  readonly throttle: Throttle
  readonly supply: Supply
  readonly connections: Connections
  readonly pipelines: Pipelines
  readonly run: Run
  /** Workers that there are. */
  readonly size: number
  /** Messages that are being looked at or sent. */
  busy: number
  /** Makes those go on that wait with an open connection. */
  readonly waiting: Set<() => void>
  /** To be called when there may be something to do. */
  wake(): void
  /** True once these workers end: nothing further is begun. */
  readonly ending: boolean
  /** True once what is in transfer has been broken off. */
  readonly aborted: boolean
}
