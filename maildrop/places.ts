/**
 * Where things are: the state of a daemon, and that nothing else lies in a spool, where all files and directories whose names do not
 * begin with a dot are taken for mail, and moved to `failed` because they are none.
 */
import { isAbsolute, join, relative, resolve } from 'node:path'
import type { MaildropConfig } from './config.ts'
import type { readValue } from './config-value.ts'
import type { Problem } from './errors.ts'
import type { ConfigKeyName } from './keys.ts'

type Value = ReturnType<typeof readValue>

/** Where all run-time state is, and which daemon serves it. */
export function placesOf(value: Value, cwd: string): Pick<MaildropConfig, 'home' | 'varDir' | 'pidFile'> {
  const home = value.path('MAILDROP_HOME') ?? resolve(cwd, 'data', 'maildrop')
  const varDir = value.path('MAILDROP_VAR') ?? join(home, 'var')
  return { home, varDir, pidFile: value.path('MAILDROP_PID_FILE') ?? join(varDir, 'maildrop.pid') }
}

/** What lies in a spool and is no mail. */
export function misplaced(value: Value, config: MaildropConfig): Problem[] {
  const { file, spools, varDir, pidFile, logFile, metrics, capture, smtp } = config
  const places: readonly (readonly [ConfigKeyName | 'the configuration file', string | undefined])[] = [
    ['the configuration file', file],
    ['MAILDROP_VAR', varDir],
    ['MAILDROP_PID_FILE', pidFile],
    ['MAILDROP_LOG_FILE', logFile],
    ['MAILDROP_METRICS', metrics && 'file' in metrics ? metrics.file : undefined],
    ['MAILDROP_CAPTURE', capture?.path],
    ['MAILDROP_TLS_CA', smtp.tlsCa],
    ['MAILDROP_PASSWORD_FILE', smtp.login?.password.from === 'file' ? smtp.login.password.path : undefined],
    ['MAILDROP_DKIM_KEY_FILE', smtp.dkim?.keyFile],
    ...spools.map(spool => ['MAILDROP_SPOOL', spool] as const),
  ]
  const found = new Map<string, Problem>()
  for (const [key, path] of places) {
    const spool = path === undefined ? undefined : spools.find(spool => isMailOf(spool, path))
    const isSpool = key === 'MAILDROP_SPOOL' && path === spool
    // in MAILDROP_VAR, of which it has been told
    const isImplied = found.has('MAILDROP_VAR') && isFixed(value, key)
    if (spool === undefined || isSpool || isImplied) continue
    const where = key === 'the configuration file' ? file : whereOf(value, key)
    const text = `${key} is ${JSON.stringify(path)}, in the spool ${spool}, where it would be taken for mail; expected another place`
    found.set(key, { where, text })
  }
  return [...found.values()]
}

const isFixed = (value: Value, key: string): boolean =>
  (key === 'MAILDROP_PID_FILE' || key === 'MAILDROP_LOG_FILE') && value.whereOf(key) === 'default'

function whereOf(value: Value, key: ConfigKeyName): string {
  const where = value.whereOf(key)
  return where === 'default' ? value.whereOf('MAILDROP_SPOOL') : where
}

/** Whether the path is the spool, or in a part of it that is not hidden. */
function isMailOf(spool: string, path: string): boolean {
  const inside = relative(spool, path)
  return !isAbsolute(inside) && !inside.startsWith('.')
}
