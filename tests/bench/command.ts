/**
 * What the bench commands share: options, families of measurements in turn, a table or JSON, and an end that leaves nothing behind, however it comes.
 */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { messageOf } from '../../lib/errors.ts'
import { latencies, median } from './measure.ts'
import { type Row, reached, table } from './report.ts'

/** What each family of benchmarks is given. */
export interface Bench {
  readonly quick: boolean
  /** Makes a directory, which goes at the end. */
  newDirectory(): string
  /** Says what is to be done when the process ends, in reverse order; synchronously. */
  atEnd(close: () => void): void
}

function parsed(command: string, usage: string, extra: Readonly<Record<string, string>>): object {
  try {
    return parseArgs({
      options: {
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
        only: { type: 'string', default: '' },
        ...Object.fromEntries(
          Object.entries(extra).map(([name, value]) => [name, { type: 'string', default: value } as const]),
        ),
      },
    }).values
  } catch (error) {
    console.error(`${command}: ${messageOf(error)}\n${usage}`)
    process.exit(2)
  }
}

/** @param extra names of options that take a value, with their defaults */
export function openBench<Extra extends Readonly<Record<string, string>>>(
  command: string,
  families: readonly string[],
  extra: Extra,
) {
  const usage = `npm run ${command} -- [--quick] [--json] [--only FAMILY,...]${Object.keys(extra)
    .map(name => ` [--${name} ...]`)
    .join('')}\nfamilies: ${families.join(', ')}`
  const values = parsed(command, usage, extra)
  const { quick, json, only, help } = values as { quick: boolean; json: boolean; only: string; help: boolean }
  if (help) {
    console.log(usage)
    process.exit()
  }
  const chosen = only === '' ? families : only.split(',')
  for (const name of chosen) {
    if (families.includes(name)) continue
    console.error(`${command}: there is no family '${name}'; there are ${families.join(', ')}`)
    process.exit(2)
  }

  const closers: (() => void)[] = []
  process.on('exit', () => {
    for (const close of closers.reverse()) close()
  })
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)
    process.once(signal, () => process.exit(code))
  const atEnd = (close: () => void) => void closers.push(close)
  const newDirectory = (): string => {
    const directory = mkdtempSync(join(tmpdir(), 'bench-'))
    atEnd(() => rmSync(directory, { recursive: true, force: true }))
    return directory
  }

  const rows: Row[] = []
  const say = (text: string): void => {
    if (!json) console.log(text)
  }
  return {
    options: values as unknown as Extra,
    chosen,
    bench: { quick, newDirectory, atEnd } satisfies Bench,
    say,
    add(found: readonly Row[]) {
      if (found.length > 0) say(table(found))
      rows.push(...found)
    },
    /** Tells the result; returns whether all targets were reached. */
    finish(machine: Readonly<Record<string, unknown>>): boolean {
      const missed = rows.filter(({ target }) => target !== undefined && !reached(target))
      const which = missed.map(({ measure }) => measure).join('; ')
      say(missed.length === 0 ? 'all targets reached' : `targets missed: ${which}`)
      if (json) console.log(JSON.stringify({ machine, rows }))
      return missed.length === 0
    },
  }
}

/** The machine, and what a write with fsync takes in a directory. */
export async function describeMachine(directory: string) {
  const file = openSync(join(directory, 'file'), 'w')
  const times = await latencies(200, () => {
    writeSync(file, Buffer.alloc(512))
    fsyncSync(file)
  })
  closeSync(file)
  return {
    cores: availableParallelism(),
    processor: cpus()[0]?.model ?? 'unknown',
    node: process.version,
    directory: tmpdir(),
    microsecondsPerSync: Math.round(median(times)),
  }
}
