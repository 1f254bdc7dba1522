/** What `configtest` finds out, one thing at a time. */

export interface Check {
  readonly what: 'config' | 'spool' | 'var' | 'log' | 'metrics' | 'hook' | 'capture' | 'server' | 'dkim'
  /** The file, directory or server. */
  readonly where: string
  readonly ok: boolean
  /** What was found. */
  readonly text: string
  /** What to change, or to consider; always there if it is not ok. */
  readonly remedy?: string
}

export const good = (what: Check['what'], where: string, text: string, remedy?: string): Check => ({
  what,
  where,
  ok: true,
  text,
  ...(remedy === undefined ? {} : { remedy }),
})

export const bad = (what: Check['what'], where: string, text: string, remedy: string): Check => ({
  what,
  where,
  ok: false,
  text,
  remedy,
})
