/**
 * How far long work is, on standard error, and only if that is a terminal: a bar with the time left where it is known how much there is, or
 * about how much, otherwise what was done so far; all with the rate.
 */
import type { SingleBar } from 'cli-progress'
import type { Progress } from '../administration/command.ts'

const WITH_TOTAL = '{unit} [{bar}] {value}/{total}, {rate}/s, {eta_formatted} left'
const ABOUT = '{unit} [{bar}] {value} of about {total}, {rate}/s, about {eta_formatted} left'
const WITHOUT_TOTAL = '{unit} {value}, {rate}/s'
/** Milliseconds between two looks at the terminal. */
const STEP = 100

export class ProgressLine {
  private readonly stream: NodeJS.WriteStream
  private bar: SingleBar | undefined
  private unit = ''
  private began = 0
  private shown = 0
  private last: Progress | undefined
  private readonly library = import('cli-progress')

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.stream = stream
  }

  /** May be called as often as one likes. */
  update(state: Progress): void {
    this.last = state
    const now = performance.now()
    if (this.began === 0) this.began = now
    if (now - this.shown < STEP) return
    this.shown = now
    void this.show(state)
  }

  /** Takes the line away. */
  async end(): Promise<void> {
    if (this.last !== undefined) await this.show(this.last)
    this.bar?.stop()
    this.bar = undefined
  }

  private async show({ unit, done, total, about }: Progress): Promise<void> {
    const { SingleBar, Presets } = (await this.library).default
    if (this.unit !== '' && unit !== this.unit) this.began = performance.now()
    const rate = Math.round((done / Math.max(1, performance.now() - this.began)) * 1000).toLocaleString('en')
    if (this.bar === undefined || unit !== this.unit) {
      this.bar?.stop()
      this.unit = unit
      const format = total === undefined ? WITHOUT_TOTAL : about ? ABOUT : WITH_TOTAL
      const options = { format, stream: this.stream, clearOnComplete: true, hideCursor: true, etaBuffer: 50 }
      this.bar = new SingleBar(options, Presets.shades_classic)
      this.bar.start(total ?? done, done, { unit, rate })
    } else {
      this.bar.setTotal(total ?? done)
      this.bar.update(done, { unit, rate })
    }
  }
}
