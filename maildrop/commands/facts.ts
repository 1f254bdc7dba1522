/**
 * What a command has to know of a maildrop: from its configuration; or, if that cannot be used, from the daemon that runs with it
 * as it was when it was read last. So a slip in the file keeps nobody from looking, holding mail back, and stopping the daemon.
 *
 * Which daemon that is, is looked for where the lines of the file say that can be read, and believed only if it says itself that it
 * runs with this file: when it is asked, or, for who wants to stop it, in its pid file, since one that hangs does not answer.
 */
import { type ConfigOptions, configFileOf, loadConfig, type MaildropConfig } from '../config.ts'
import { readValue } from '../config-value.ts'
import { readPidFile } from '../daemon/pid-file.ts'
import { MaildropError, type Problem } from '../errors.ts'
import { placesOf } from '../places.ts'
import { readConfigFile, settingsOf } from '../settings.ts'
import { askStatus } from './daemon-status.ts'

export interface Facts extends Pick<MaildropConfig, 'file' | 'spools' | 'logFile' | 'pidFile'> {
  /** What is wrong with the configuration, if these are of the daemon; with it, nothing more is known. */
  readonly problem: string
}

export const isBroken = <Known extends object>(known: Known): known is Extract<Known, { problem: string }> =>
  'problem' in known

/** @throws {MaildropError} CONFIG_UNREADABLE, CONFIG_INVALID if the configuration cannot be used, and no daemon runs with it */
export async function loadOrAsk(options: ConfigOptions): Promise<MaildropConfig | Facts> {
  try {
    return loadConfig(options)
  } catch (error) {
    if (!(error instanceof MaildropError)) throw error
    return await askedOf(options, error)
  }
}

/** What has to be known to stop a daemon. @throws {MaildropError} as loadOrAsk */
export async function loadOrFind(options: ConfigOptions): Promise<MaildropConfig | Pick<Facts, 'pidFile' | 'problem'>> {
  try {
    return loadConfig(options)
  } catch (error) {
    if (!(error instanceof MaildropError)) throw error
    const { file, pidFile, config } = runningOf(options, error)
    return config === file ? { pidFile, problem: error.message } : await askedOf(options, error)
  }
}

/** The daemon that runs where this configuration seems to say. @throws `error` if none does */
function runningOf(options: ConfigOptions, error: MaildropError) {
  const file = configFileOf(options)
  const pidFile = likelyPidFile(file, options)
  const found = pidFile === undefined ? undefined : readPidFile(pidFile)
  if (pidFile === undefined || found?.kind !== 'running') throw error
  return { file, pidFile, pid: found.identity.pid, config: found.config }
}

async function askedOf(options: ConfigOptions, error: MaildropError): Promise<Facts> {
  const { file, pidFile, pid, config } = runningOf(options, error)
  const said = await askStatus({ pidFile })
  if ('spools' in said && said.config === file)
    return { file, spools: said.spools, logFile: said.logFile, pidFile, problem: error.message }
  const why = 'spools' in said ? `it runs with ${said.config}` : said.problem
  const text =
    config === file
      ? `its daemon, pid ${pid} (${pidFile}), cannot be asked: ${why}. stop_maildrop stops it`
      : `whether pid ${pid} (${pidFile}) is its daemon is not sure: ${why}. If it is, kill ${pid} stops it`
  throw new MaildropError(error.code, `${error.message}; ${text}`, { cause: error })
}

/** As far as what can be read tells. */
function likelyPidFile(file: string, options: ConfigOptions): string | undefined {
  const { cwd = process.cwd() } = options
  const wrongPlaces: Problem[] = []
  const value = readValue(settingsOf(file, readable(file), options, [], []), cwd, wrongPlaces)
  const { pidFile } = placesOf(value, cwd)
  return wrongPlaces.length === 0 ? pidFile : undefined
}

function readable(file: string): string {
  try {
    return readConfigFile(file)
  } catch {
    return ''
  }
}
