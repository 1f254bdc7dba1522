/** The configuration that a command works with; what should be looked at in it is said. */
import { loadConfig, type MaildropConfig } from '../config.ts'
import { unusableFiles } from '../smtp-config.ts'
import type { Facts } from './facts.ts'
import { warn } from './output.ts'

/** @throws {MaildropError} CONFIG_UNREADABLE, CONFIG_INVALID */
export function load(name: string, file: string | undefined): MaildropConfig {
  const config = loadConfig({ file })
  for (const text of config.warnings) warn(name, text)
  return config
}

/** Says as well what will keep mail from being sent. @throws {MaildropError} as `load` */
export function loadToDeliver(name: string, file: string | undefined): MaildropConfig {
  const config = load(name, file)
  for (const text of unusableFiles(config.smtp)) warn(name, text)
  return config
}

/** Also with a configuration that cannot be used, as long as a daemon runs with it. @throws {MaildropError} as `load` */
export async function known(name: string, file: string | undefined): Promise<MaildropConfig | Facts> {
  const { isBroken, loadOrAsk } = await import('./facts.ts')
  const found = await loadOrAsk({ file })
  if (isBroken(found))
    warn(name, `${found.problem}; until that is corrected, the daemon goes on as it was, and cannot be started again`)
  else for (const text of found.warnings) warn(name, text)
  return found
}

/** What has to be known to stop a daemon, also one that does not answer. @throws {MaildropError} as `load` */
export async function found(name: string, file: string | undefined): Promise<Pick<MaildropConfig, 'pidFile'>> {
  const { isBroken, loadOrFind } = await import('./facts.ts')
  const place = await loadOrFind({ file })
  if (isBroken(place)) warn(name, `${place.problem}; until that is corrected, the daemon cannot be started again`)
  else for (const text of place.warnings) warn(name, text)
  return place
}
