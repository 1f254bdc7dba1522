/**
 * The configuration of the maildrop: defaults, under a file, under environment variables.
 *
 * The file is the one given, or `MAILDROP_CONFIG`, or `maildrop/config` under the working directory, or the one shipped
 * with the package. Every key may be given as an environment variable too, which wins. Everything is checked here, once,
 * so the rest of the program never meets a wrong value; all paths in the result are absolute.
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { CaptureTarget } from './capture/mailbox.ts'

import { readValue } from './config-value.ts'
import type { Problem } from './errors.ts'
import type { ConfigKeyName } from './keys.ts'
import { misplaced, placesOf } from './places.ts'
import { forgottenRelays, type Relay, relayIn } from './relays.ts'
import { ENVIRONMENT, invalid, readConfigFile, type Setting, settingsOf } from './settings.ts'
import { isExposed, type SmtpConfig, smtpConfig, smtpWarnings } from './smtp-config.ts'

export type { SmtpConfig } from './smtp-config.ts'

/** Where the numbers go: a port of the loopback interface, or a file (absolute path). */
export type MetricsTarget = { readonly port: number } | { readonly file: string }

/** `messages` in `seconds`, and the `text` it was written as. */
export interface Rate {
  readonly messages: number
  readonly seconds: number
  readonly text: string
}

export interface MaildropConfig {
  /** The configuration file that was read, and the directory that relative paths in it start at. */
  readonly file: string
  readonly cwd: string
  readonly home: string
  /** At least one directory; mail is written to the first, all are served. Those of the relays are the last. */
  readonly spools: readonly [string, ...string[]]
  /** Whether the group of a spool's directory may put mail into it. */
  readonly shared: boolean
  readonly varDir: string
  readonly pidFile: string
  readonly logFile: string
  readonly logFormat: 'text' | 'json'
  readonly smtp: SmtpConfig
  /** Further servers, each with a spool of its own. */
  readonly relays: readonly Relay[]
  /** Seconds between two scans of the spool. */
  readonly interval: number
  /** Seconds after which a message that is still deferred is given up. */
  readonly maxAge: number
  /** Messages per connection; 0 is no limit. */
  readonly batch: number
  /** Seconds between two messages. */
  readonly waitInterval: number
  /** Most connections at a time; 1 if there is a `waitInterval`, and for an mbox. */
  readonly connections: number
  /** Most messages in any period of a length, over all connections. */
  readonly rate: Rate | undefined
  /** Whether a message that the server may have taken is sent again, or put on hold. */
  readonly onUnknown: 'send' | 'ask'
  /** Whether senders are told of failures. */
  readonly bounce: boolean
  /** Path and arguments of what is told of failures. */
  readonly onFailure: readonly [string, ...string[]] | undefined
  readonly metrics: MetricsTarget | undefined
  /** Seconds without movement until there is an alarm. */
  readonly stallAlarm: number
  readonly debug: boolean
  readonly supervised: boolean
  /** Replaces the recipients of every envelope. */
  readonly debugReceiver: string | undefined
  /** Where all mail goes, instead of to the server. */
  readonly capture: CaptureTarget | undefined
  readonly addMessageId: boolean
  /** What is not wrong, but should be looked at; one line each. */
  readonly warnings: readonly string[]
}

/**
 * Reads the configuration.
 * @param options `file` chooses the configuration file; `env` and `cwd` are the process's own by default
 * @throws {MaildropError} CONFIG_UNREADABLE; CONFIG_INVALID for everything that is wrong, naming key, value, file and line, and
 * what is expected
 */
export function loadConfig(options: ConfigOptions = {}): MaildropConfig {
  const { cwd = process.cwd() } = options
  const file = configFileOf(options)
  const problems: Problem[] = []
  const warnings: string[] = []
  const settings = settingsOf(file, readConfigFile(file), options, problems, warnings)
  const config = configOf(file, settings, cwd, problems, warnings)
  if (problems.length > 0) throw invalid(problems)
  return config
}

export interface ConfigOptions {
  readonly file?: string | undefined
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly cwd?: string
}

/** The absolute path of the file that is read. */
export function configFileOf({ file, env = process.env, cwd = process.cwd() }: ConfigOptions): string {
  return resolve(cwd, findConfigFile(file ?? env.MAILDROP_CONFIG, cwd))
}

function findConfigFile(chosen: string | undefined, cwd: string): string {
  if (chosen !== undefined && chosen !== '') return chosen
  const local = join(cwd, 'maildrop', 'config')
  return existsSync(local) ? local : join(packageRoot(), 'maildrop', 'config')
}

/** The package refers to itself by name, so that sources and compiled code find the same files. */
function packageRoot(): string {
  return fileURLToPath(new URL('.', import.meta.resolve('maildrophost/package.json')))
}

function configOf(
  file: string,
  settings: ReadonlyMap<ConfigKeyName, Setting>,
  cwd: string,
  problems: Problem[],
  warnings: readonly string[],
): MaildropConfig {
  const value = readValue(settings, cwd, problems)
  const { home, varDir, pidFile } = placesOf(value, cwd)
  const [first = join(home, 'spool'), ...others] = value.paths('MAILDROP_SPOOL')
  const relays = value.relays('MAILDROP_RELAYS').map(relay => relayIn(first, relay))
  const waitInterval = value.number('WAIT_INTERVAL')
  const capture = value.mailbox('MAILDROP_CAPTURE')
  const smtp = smtpConfig(value, (key, text) => problems.push({ where: value.whereOf(key), text }))
  const config: MaildropConfig = {
    file,
    cwd,
    home,
    spools: [first, ...others, ...relays.map(({ spool }) => spool)],
    shared: value.flag('MAILDROP_GROUP'),
    varDir,
    pidFile,
    logFile: value.path('MAILDROP_LOG_FILE') ?? join(varDir, 'maildrop.log'),
    logFormat: value.choice('MAILDROP_LOG_FORMAT'),
    smtp,
    relays,
    interval: value.number('MAILDROP_INTERVAL'),
    maxAge: value.duration('MAILDROP_MAX_AGE'),
    batch: value.number('MAILDROP_BATCH'),
    waitInterval,
    connections: waitInterval > 0 || capture?.format === 'mbox' ? 1 : value.number('MAILDROP_CONNECTIONS'),
    rate: value.rate('MAILDROP_RATE'),
    onUnknown: value.choice('MAILDROP_ON_UNKNOWN'),
    bounce: value.flag('MAILDROP_BOUNCE'),
    onFailure: value.command('MAILDROP_ON_FAILURE'),
    metrics: value.outlet('MAILDROP_METRICS'),
    stallAlarm: value.duration('MAILDROP_STALL_ALARM'),
    debug: value.flag('DEBUG'),
    supervised: value.flag('SUPERVISED_DAEMON'),
    debugReceiver: value.address('DEBUG_RECEIVER'),
    capture,
    addMessageId: value.flag('ADD_MESSAGEID'),
    warnings: [
      ...warnings,
      ...exposedPassword(file, settings),
      ...smtpWarnings(smtp),
      ...forgottenRelays(first, relays),
    ],
  }
  problems.push(...misplaced(value, config))
  return config
}

/** The configuration for each server that is delivered to: the usual one first, then the relays, which know no login. */
export function destinationsOf(config: MaildropConfig): [MaildropConfig, ...MaildropConfig[]] {
  // what is captured is for no server
  if (config.capture !== undefined) return [config]
  const ofRelays = new Set(config.relays.map(({ spool }) => spool))
  const [first, ...others] = config.spools
  const usual = { ...config, spools: [first, ...others.filter(spool => !ofRelays.has(spool))] as const }
  const further = config.relays.map(({ host, port, spool }): MaildropConfig => {
    return { ...config, spools: [spool], smtp: { ...config.smtp, host, port, login: undefined } }
  })
  return [usual, ...further]
}

/** A password that stands in the file itself is as safe as the file. */
function exposedPassword(file: string, settings: ReadonlyMap<ConfigKeyName, Setting>): string[] {
  const password = settings.get('MAILDROP_PASSWORD')
  const isInFile = password !== undefined && password.value !== '' && password.where !== ENVIRONMENT
  if (!isInFile || !isExposed(file)) return []
  return [`${password.where}: the password can be read by others; run: chmod 600 ${file}`]
}
