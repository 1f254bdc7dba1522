/**
 * The log: `key=value` lines with a time, appended to a file that is open only while there is something to do.
 *
 * The file is opened for a run and closed after it, and at least every ten seconds; outside a run it is open for one line.
 * So it may be rotated by renaming at any time without a signal. A log that cannot be written stops nothing: the lines are lost, one notice goes to the
 * standard error, and every later run tries again. Values are quoted, so that no text of a server can forge a line.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf } from '../errors.ts'
import { ensureDirectory } from '../spool/sync.ts'

export type LogFields = Readonly<Record<string, string | number | undefined>>

export interface Log {
  /** Writes one line; fields that are undefined are left out. */
  line(event: string, fields?: LogFields): void
  /** Begins a run: the file stays open from its first line on. */
  begin(): void
  /** Ends a run: the file is closed. */
  end(): void
}

const REOPEN_AFTER = 10_000

/**
 * @param file absolute path
 * @param echo gets every line too, for the foreground
 */
export function openLog(file: string, echo: ((line: string) => void) | undefined): Log {
  let fd: number | undefined
  let opened = 0
  let running = false
  let complained = false

  const close = (): void => {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
  }

  const append = (text: string): void => {
    try {
      if (fd !== undefined && performance.now() - opened > REOPEN_AFTER) close()
      if (fd === undefined) {
        ensureDirectory(dirname(file))
        fd = openSync(file, 'a', 0o600)
        opened = performance.now()
      }
      writeSync(fd, text)
      complained = false
    } catch (error) {
      if (!complained) process.stderr.write(`maildrop: cannot write the log ${file}: ${messageOf(error)}\n`)
      complained = true
      close()
    }
  }

  return {
    line(event, fields = {}) {
      const text = `${new Date().toISOString()} ${event}${formatFields(fields)}\n`
      append(text)
      if (!running) close()
      echo?.(text)
    },
    begin() {
      running = true
    },
    end() {
      running = false
      close()
    },
  }
}

function formatFields(fields: LogFields): string {
  let text = ''
  for (const [key, value] of Object.entries(fields)) {
    if (value !== undefined) text += ` ${key}=${quote(String(value))}`
  }
  return text
}

/** Bare where that is unambiguous, otherwise a JSON string of printable ASCII. */
function quote(value: string): string {
  if (/^[!#-<>-[\]-~]+$/.test(value)) return value
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
