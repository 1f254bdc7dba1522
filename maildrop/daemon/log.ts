/**
 * The log: one line per event, appended to a file that is open only while there is something to do.
 *
 *     2026-11-24T19:03:07.123Z sent id=… to=ann@example.org code=250 text="2.0.0 ok" …
 *     {"time":"2026-11-24T19:03:07.123Z","event":"sent","id":"…","to":"ann@example.org","code":250,"text":"2.0.0 ok",…}
 *
 * The file is opened for a run and closed after it; outside a run it is open for one line. Before every line it is looked
 * whether the name still means the open file, so it may be rotated in any way at any time, without a signal. A log that
 * cannot be written stops nothing: the lines are lost, one notice goes to the standard error, and every later line tries
 * again. Lines are printable ASCII with values quoted, so no text of a server can forge one or control a terminal.
 */
import { closeSync, constants, fstatSync, openSync, statSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { messageOf } from '../errors.ts'
import { ensureDirectory } from '../spool/sync.ts'
import type { LogEvent, LogField } from './log-events.ts'

export type LogFields = Readonly<Partial<Record<LogField, string | number | undefined>>>

export interface LogTarget {
  /** Absolute path. */
  readonly logFile: string
  readonly logFormat: 'text' | 'json'
}

export interface Log {
  /** Writes one line; fields that are undefined are left out. */
  line(event: LogEvent, fields?: LogFields): void
  /** Begins a run: the file stays open from its first line on. */
  begin(): void
  /** Ends a run: the file is closed. */
  end(): void
  /** Goes on in another file or format. */
  retarget(target: LogTarget): void
  /** Why the last line could not be written. */
  readonly problem: string | undefined
}

/** Never blocks: a pipe without a reader is an unwritable log. */
const APPEND = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NONBLOCK

/** @param echo gets every line too, for the foreground */
export function openLog(target: LogTarget, echo: ((line: string) => void) | undefined): Log {
  let { logFile, logFormat } = target
  let open: { readonly fd: number; readonly dev: number; readonly ino: number } | undefined
  let running = false
  let problem: string | undefined
  /** A full disk took a part of a line. */
  let torn = false

  const close = (): void => {
    const fd = open?.fd
    open = undefined
    if (fd !== undefined) closeSync(fd)
  }

  const reopen = (): number => {
    close()
    ensureDirectory(dirname(logFile))
    const fd = openSync(logFile, APPEND, 0o600)
    const { dev, ino } = fstatSync(fd)
    open = { fd, dev, ino }
    return fd
  }

  /** The open file, if the name still means it. */
  const current = (): number | undefined => {
    if (open === undefined) return undefined
    const there = statSync(logFile, IF_THERE)
    return there?.ino === open.ino && there.dev === open.dev ? open.fd : undefined
  }

  const append = (text: string): void => {
    try {
      const fd = current() ?? reopen()
      const line = torn ? `\n${text}` : text
      const written = writeSync(fd, line)
      if (written > 0) torn = written < line.length
      if (!torn) problem = undefined
    } catch (error) {
      const known = problem !== undefined
      problem = `cannot write the log ${logFile}: ${messageOf(error)}`
      if (!known) process.stderr.write(`maildrop: ${problem}\n`)
      close()
    }
  }

  return {
    line(event, fields = {}) {
      const text = (logFormat === 'json' ? jsonLine : textLine)(new Date().toISOString(), event, fields)
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
    retarget(next) {
      close()
      ;({ logFile, logFormat } = next)
    },
    get problem() {
      return problem
    },
  }
}

const IF_THERE = { throwIfNoEntry: false } as const

function textLine(time: string, event: LogEvent, fields: LogFields): string {
  let text = `${time} ${event}`
  // No list of pairs: this is done for every message.
  for (const key in fields) {
    const value = fields[key as LogField]
    if (value !== undefined) text += ` ${key}=${typeof value === 'number' ? value : bare(value)}`
  }
  return `${text}\n`
}

function jsonLine(time: string, event: LogEvent, fields: LogFields): string {
  return `${ascii(JSON.stringify({ time, event, ...fields }))}\n`
}

/** Bare where that is unambiguous, otherwise a JSON string. */
function bare(value: string): string {
  return /^[!#-<>-[\]-~]+$/.test(value) ? value : ascii(JSON.stringify(value))
}

function ascii(json: string): string {
  return json.replace(/[^\x20-\x7e]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** A log of which somebody takes notice. */
export function observed(log: Log, saw: (event: LogEvent, fields: LogFields) => void): Log {
  return {
    ...log,
    line(event, fields = {}) {
      log.line(event, fields)
      saw(event, fields)
    },
    get problem() {
      return log.problem
    },
  }
}
