/** Opening a database whose root is an Application, with its mail. */
import { type CacheLimits, checkOptions, type Database, type Level, openDatabase as open } from '../lib/index.ts'
import { Application } from './application.ts'
import { allowedConfigs, createMailSystem, type MaildropConfigs } from './mail-system.ts'

/** Options of `openDatabase`. */
export interface OpenOptions extends CacheLimits {
  /** Whether a database may be created where there is none. Default true. */
  readonly create?: boolean
  /** The maildrop's configuration file. By default MAILDROP_CONFIG, or `maildrop/config` under the working directory, or the one shipped. */
  readonly maildropConfig?: string
  /** Further ones by key, which mail hosts choose by `configPath`. By default those of `MAILDROP_CONFIGS="key=file;key=file"`. */
  readonly maildropConfigs?: MaildropConfigs
  /**
   * Whether `objtree` may have its commands carried out in this process, through a socket beside the database that only this user can open.
   * Default true; a database that is no directory has none.
   */
  readonly socket?: boolean
  /** Opens a damaged database for reading what is left of it; see lib/database.ts. Default false. */
  readonly salvage?: boolean
  /** Opens what somebody else may have made up; see lib/database.ts. No mail that it has waiting is published. Default false. */
  readonly untrusted?: boolean
}

/**
 * Opens the object database in a directory (or over an abstract-level database), creating it if need be, and publishes the mail
 * that an earlier process had committed but not yet published.
 *
 * @throws {ObjectError} DATABASE_LOCKED, DATABASE_FORMAT, DATABASE_CORRUPT, DATABASE_FAILED; NOT_FOUND with `create: false`; INVALID_ARGUMENT
 */
export async function openDatabase(
  location: string | Level,
  options: OpenOptions = {},
): Promise<Database<Application>> {
  const { maildropConfig, maildropConfigs, socket = true, ...others } = checkOptions('openDatabase', options)
  const configs = allowedConfigs(maildropConfigs)
  const database = await open(location, { root: () => new Application(), ...others })
  const { publisher } = createMailSystem(database, maildropConfig, configs)
  // mail that a damaged database has waiting may have been published long ago, and what somebody made up may want to be anywhere
  if (database.damage.length === 0 && options.untrusted !== true) await publisher.recover()
  if (socket && typeof location === 'string') {
    const { listen } = await import('../administration/listen.ts')
    await listen(database)
  }
  return database
}
