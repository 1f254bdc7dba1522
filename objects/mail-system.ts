/** What the mail hosts of a database share: the configurations of the maildrop that they may choose from, and the publisher. */
import { resolve } from 'node:path'
import { checkOptions, type Database, ObjectError, unexpected } from '../lib/index.ts'
import { loadConfig, type MaildropConfig } from '../maildrop/index.ts'
import { MailPublisher } from './mail-publisher.ts'
import { KeyExpiry } from './sent-keys.ts'

export interface MailSystem {
  readonly publisher: MailPublisher
  readonly keys: KeyExpiry
  /** The keys of the configurations that a host may choose, besides the usual one. */
  readonly configKeys: readonly string[]
  /**
   * A configuration, read when it is first needed.
   * @param key empty for the usual one
   * @throws {ObjectError} INVALID_ARGUMENT for a key that is not allowed; {MaildropError}
   */
  readonly config: (key?: string) => MaildropConfig
}

/** Configuration files by key: a host in the tree names a key, never a path. */
export type MaildropConfigs = Readonly<Record<string, string>>

const systems = new WeakMap<Database, MailSystem>()

/**
 * @param configFile the usual configuration file; by default the one that the daemon would find
 * @param files the others, by key
 * @param options.publishes false if another process has the database open and publishes what is committed
 */
export function createMailSystem(
  database: Database,
  configFile?: string,
  files: ReadonlyMap<string, string> = allowedConfigs(),
  { publishes = true }: { readonly publishes?: boolean } = {},
): MailSystem {
  const loaded = new Map<string, MaildropConfig>()
  const configKeys = [...files.keys()]
  // one that cannot be read is told to whoever needs it
  const spools = () =>
    ['', ...configKeys].flatMap(key => {
      try {
        return system.config(key).spools
      } catch {
        return []
      }
    })
  const system: MailSystem = {
    publisher: new MailPublisher(database, spools, publishes),
    keys: new KeyExpiry(database),
    configKeys,
    config: (key = '') => {
      const known = loaded.get(key)
      if (known !== undefined) return known
      if (key !== '' && !files.has(key))
        throw new ObjectError(
          'INVALID_ARGUMENT',
          `there is no configuration ${JSON.stringify(key)} of the maildrop; allowed: ${configKeys.join(', ') || 'none'} (openDatabase's maildropConfigs, or MAILDROP_CONFIGS)`,
        )
      const config = loadConfig({ file: key === '' ? configFile : files.get(key) })
      loaded.set(key, config)
      return config
    },
  }
  systems.set(database, system)
  return system
}

/** The mail system of a database, made if it has none yet. */
export function mailSystemOf(database: Database): MailSystem {
  return systems.get(database) ?? createMailSystem(database)
}

/**
 * @param configs by default those of the environment, `MAILDROP_CONFIGS="key=file;key=file"`
 * @returns absolute paths by key
 * @throws {ObjectError} INVALID_ARGUMENT
 */
export function allowedConfigs(configs: MaildropConfigs = configsOfEnvironment()): ReadonlyMap<string, string> {
  const files = Object.entries(checkOptions('openDatabase: maildropConfigs', configs))
  return new Map(files.map(([key, file]) => [checkKey(key), resolve(checkFile(key, file))]))
}

function configsOfEnvironment(): MaildropConfigs {
  const configs: Record<string, string> = {}
  for (const entry of (process.env.MAILDROP_CONFIGS ?? '').split(';')) {
    if (entry.trim() === '') continue
    const [, key, file] = /^([^=]+)=(.+)$/.exec(entry.trim()) ?? []
    if (key === undefined || file === undefined || Object.hasOwn(configs, key))
      throw new ObjectError(
        'INVALID_ARGUMENT',
        `MAILDROP_CONFIGS: expected key=file;key=file, each key once, found ${JSON.stringify(entry)}`,
      )
    configs[key] = file
  }
  return configs
}

function checkFile(key: string, file: unknown): string {
  if (typeof file === 'string' && file !== '') return file
  throw unexpected(`openDatabase: maildropConfigs: '${key}'`, 'the path of a configuration file', file)
}

function checkKey(key: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(key)) return key
  throw new ObjectError(
    'INVALID_ARGUMENT',
    `${JSON.stringify(key)} cannot be the key of a configuration; expected 1 to 64 letters, digits, - and _`,
  )
}
