/** The settings with which a mail host's mail is written and delivered, as they result from file and environment; secrets are masked. */
import type { Connection, MaildropHost } from '../objects/index.ts'
import { mailSystemOf } from '../objects/mail-system.ts'

const MASK = '********'
/** Names of files that hold secrets are no secrets. */
const isSecret = (name: string): boolean => /password|passphrase|secret/i.test(name) && !/file$/i.test(name)

/** @throws {MaildropError} if the configuration is wrong; {ObjectError} INVALID_ARGUMENT if its key is not allowed */
export function mailSettings(host: MaildropHost): Record<string, unknown> {
  const { database } = host._p_jar as Connection
  const { warnings: _, ...config } = mailSystemOf(database).config(host.configPath || '')
  return { ...host.settings(), ...flat(config, '') }
}

function flat(values: object, prefix: string): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(values)) {
    const full = prefix + name
    if (isSecret(name)) found[full] = value === undefined || value === '' ? null : MASK
    else if (typeof value === 'object' && value !== null && !Array.isArray(value))
      Object.assign(found, flat(value, `${full}.`))
    else if (!['cwd', 'file'].includes(full)) found[full] = value ?? null
  }
  return found
}
