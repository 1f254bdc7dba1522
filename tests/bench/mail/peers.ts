/** The senders that need no installation of their own: nodemailer's pool, and Postfix's smtp-source, which shows what the protocol allows. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { LOADER } from '../../support/children.ts'
import type { Bench } from '../command.ts'
import { findProgram, finish } from './processes.ts'

export interface Load {
  readonly count: number
  readonly size: number
  readonly connections: number
  readonly port: number
}

export interface PoolResult {
  readonly seconds: number
  /** Microseconds of CPU time per message. */
  readonly cpu: number
}

const POOL = fileURLToPath(new URL('pool.ts', import.meta.url))

export async function pool({ port, connections, count, size }: Load): Promise<PoolResult> {
  const args = [LOADER, POOL, ...[port, connections, count, size].map(String)]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout) as PoolResult
}

/** @returns seconds */
export async function source(bench: Bench, load: Load): Promise<number> {
  const begun = performance.now()
  await submit(bench, load)
  return (performance.now() - begun) / 1000
}

/** Sends with smtp-source. */
export async function submit(bench: Bench, { port, connections, count, size }: Load): Promise<void> {
  const program = findProgram('smtp-source')
  if (program === undefined) throw new Error('smtp-source is not installed; it comes with Postfix')
  const options = { s: connections, m: count, l: size, f: 'sender@example.org', t: 'ann@example.org' }
  const args = Object.entries(options).flatMap(([name, value]) => [`-${name}`, String(value)])
  await finish(bench, program, ['-d', ...args, `127.0.0.1:${port}`])
}
