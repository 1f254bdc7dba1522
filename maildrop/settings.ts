/**
 * The raw values of the configuration: of its file, under the environment. What they mean is decided by `config-value.ts`.
 */
import type { ConfigOptions } from './config.ts'
import { parseConfigFile } from './config-file.ts'
import { MaildropError, messageOf, type Problem } from './errors.ts'
import { CONFIG_KEY_NAMES, type ConfigKeyName, isConfigKey } from './keys.ts'
import { LARGE, readSmallFile } from './small-file.ts'

/** A raw value and where it was found. */
export interface Setting {
  readonly key: ConfigKeyName
  readonly value: string
  readonly where: string
}

/** @throws {MaildropError} CONFIG_UNREADABLE */
export function readConfigFile(file: string): string {
  try {
    return readSmallFile(file, LARGE)
  } catch (error) {
    throw new MaildropError(
      'CONFIG_UNREADABLE',
      `cannot read the configuration file ${file}: ${messageOf(error)}; check the path (--config, MAILDROP_CONFIG) and its permissions`,
      { cause: error, path: file },
    )
  }
}

/**
 * The raw values, of the text of the file and of the environment.
 * @param problems gets what is wrong with the text
 * @param warnings gets what is said twice, or in vain
 */
export function settingsOf(
  file: string,
  text: string,
  { env = process.env }: ConfigOptions,
  problems: Problem[],
  warnings: string[],
): Map<ConfigKeyName, Setting> {
  const settings = new Map<ConfigKeyName, Setting>()
  const repeated = new Map<ConfigKeyName, string>()
  for (const { key, value, where } of parseConfigFile(text, file, problems)) {
    if (!isConfigKey(key)) {
      problems.push({ where, text: problems.length < MOST_PROBLEMS ? unknownKey(key) : 'unknown key' })
      continue
    }
    const before = settings.get(key)
    if (before !== undefined)
      repeated.set(key, `${where}: ${key} is set before, at ${before.where}; the last one counts`)
    settings.set(key, { key, value, where })
  }
  warnings.push(...repeated.values())
  for (const key of CONFIG_KEY_NAMES) {
    const value = env[key]
    if (value === undefined || isForeignDebug(key, value)) continue
    settings.set(key, { key, value, where: ENVIRONMENT })
  }
  warnings.push(...Object.keys(env).flatMap(mistakenFor))
  return settings
}

/** A variable that is nearly a key: what it was to prevent, sending mail for one, is not prevented. Others may be anybody's. */
function mistakenFor(name: string): string[] {
  if (!name.startsWith('MAILDROP_') || isConfigKey(name) || NO_KEYS.includes(name)) return []
  const near = nearTo(name, 2)
  return near === undefined ? [] : [`${ENVIRONMENT}: ${name} means nothing; did you mean ${near}?`]
}

/** What the programs themselves are told by. */
const NO_KEYS = ['MAILDROP_CONFIG', 'MAILDROP_CONFIGS']

export const ENVIRONMENT = 'environment'

/** `DEBUG` in the environment is used by many programs for lists of names; only a flag is meant for this one. */
function isForeignDebug(key: ConfigKeyName, value: string): boolean {
  return key === 'DEBUG' && !/^(0|1|)$/.test(value)
}

/** Of a file that is no configuration at all not every line is told. */
const MOST_PROBLEMS = 20

/** The error that tells of everything that is wrong, in the order of the lines. */
export function invalid(found: readonly Problem[]): MaildropError {
  const inOrder = found.toSorted((a, b) => lineOf(a) - lineOf(b))
  const more = inOrder.splice(MOST_PROBLEMS).length
  const [first] = inOrder
  const rest = { where: first?.where.replace(/:\d+$/, '') ?? '', text: `${more} more mistakes like these` }
  const problems = more > 0 ? [...inOrder, rest] : inOrder
  const message = problems.map(({ where, text }) => `${where}: ${text}`).join('; and ')
  return new MaildropError('CONFIG_INVALID', message, { problems })
}

/** Those that are in no line come last. */
const lineOf = ({ where }: Problem): number => Number(/:(\d+)$/.exec(where)?.[1] ?? Number.MAX_SAFE_INTEGER)

function unknownKey(key: string): string {
  if (key.length > MAX_KEY) return `unknown key ${key.slice(0, MAX_KEY)}…`
  const near = nearTo(key.toUpperCase(), 3)
  const hint = near ? `did you mean ${near}?` : `known keys: ${CONFIG_KEY_NAMES.join(' ')}`
  return `unknown key ${key}; ${hint}`
}

/** The key that is most like it. */
function nearTo(text: string, most: number): ConfigKeyName | undefined {
  if (text.length > MAX_KEY) return undefined
  return CONFIG_KEY_NAMES.map(name => ({ name, distance: distance(text, name) }))
    .filter(({ distance }) => distance <= most)
    .sort((a, b) => a.distance - b.distance)[0]?.name
}

/** Characters of what may be a key that is written wrong. */
const MAX_KEY = 60

/** Levenshtein distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1))
    }
    row = next
  }
  return row[b.length]!
}
