/**
 * `maildropctl log`: the last part of the log, and what is added to it.
 */
import type { MaildropConfig } from '../config.ts'
import { followLog, readLogTail } from '../log-tail.ts'

export interface LogOptions {
  readonly bytes: number
  readonly follow: boolean
}

/** Most bytes that are shown at once. */
export const MAX_LOG_BYTES = 64 * 1024 * 1024

/** Prints until it is interrupted, with `follow`. */
export async function log({ logFile }: Pick<MaildropConfig, 'logFile'>, { bytes, follow }: LogOptions): Promise<void> {
  const write = (text: string | Buffer): void => void process.stdout.write(text)
  if (!follow) return write(await readLogTail(logFile, bytes))
  const ended = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ended.abort())
  process.stdout.once('error', () => ended.abort())
  await followLog(logFile, bytes, write, ended.signal)
}
