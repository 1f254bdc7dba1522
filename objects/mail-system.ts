/** What the mail hosts of a database share: the configuration of the maildrop, and the publisher. */
import type { Database } from '../lib/index.ts'
import { loadConfig, type MaildropConfig } from '../maildrop/index.ts'
import { MailPublisher } from './mail-publisher.ts'

export interface MailSystem {
  readonly publisher: MailPublisher
  /** The configuration, read when it is first needed. @throws {MaildropError} */
  readonly config: () => MaildropConfig
}

const systems = new WeakMap<Database, MailSystem>()

/**
 * @param configFile the maildrop's configuration file; by default the one that the daemon would find
 */
export function createMailSystem(database: Database, configFile?: string): MailSystem {
  let config: MaildropConfig | undefined
  const system: MailSystem = {
    publisher: new MailPublisher(database),
    config: () => {
      config ??= loadConfig({ file: configFile })
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
