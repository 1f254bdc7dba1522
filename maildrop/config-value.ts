/**
 * Turns the raw text of a configuration key into its value, by the kind that the table of keys gives it.
 *
 * A wrong value is noted as a problem that names key, value (masked if secret), file and line, and what is expected. The default
 * stands in for it then, so that everything else is looked at as well.
 */
import { isAbsolute, resolve } from 'node:path'
import { domainToASCII } from 'node:url'
import type { CaptureTarget } from './capture/mailbox.ts'
import type { MetricsTarget, Rate } from './config.ts'
import { parseDuration, UNITS } from './duration.ts'
import type { Problem } from './errors.ts'
import { CONFIG_KEYS, type ConfigKeyName, isConfigKey, type KeyKind, shownValue } from './keys.ts'
import { isDomain, isHost, parseRelay, type RelayName, relayText } from './relays.ts'
import type { Setting } from './settings.ts'
import { addressProblem } from './spool/address.ts'

/** The keys of one kind. */
type KeyOf<Is extends KeyKind['is']> = {
  [Name in ConfigKeyName]: (typeof CONFIG_KEYS)[Name]['kind']['is'] extends Is ? Name : never
}[ConfigKeyName]

type NumberKind = Extract<KeyKind, { is: 'integer' | 'number' }>

type ChoiceOf<Name extends KeyOf<'choice'>> = (typeof CONFIG_KEYS)[Name]['kind']['of'] extends infer Of
  ? Of[keyof Of]
  : never

/** What is expected, where something else was found. */
class Unexpected extends Error {}

/**
 * One reader per kind; each takes the name of a key.
 * @param problems gets what is wrong, each key once; the keys of those that it has count as wrong
 */
export function readValue(settings: ReadonlyMap<ConfigKeyName, Setting>, cwd: string, problems: Problem[]) {
  const refused = new Set(problems.map(({ key = '' }) => key).filter(isConfigKey))
  const given = (key: ConfigKeyName): string =>
    (refused.has(key) ? undefined : settings.get(key)?.value) || CONFIG_KEYS[key].default

  const whereOf = (key: ConfigKeyName): string => settings.get(key)?.where ?? 'default'

  const refuse = (key: ConfigKeyName, expected: string): void => {
    if (refused.has(key)) return
    const value = JSON.stringify(shownValue(key, shortened(given(key))))
    problems.push({ where: whereOf(key), text: `${key} is ${value}; expected ${expected}` })
    refused.add(key)
  }

  const checked =
    <Key extends ConfigKeyName, Value>(read: (key: Key) => Value) =>
    (key: Key): Value => {
      try {
        return read(key)
      } catch (error) {
        if (!(error instanceof Unexpected)) throw error
        refuse(key, error.message)
        return read(key)
      }
    }

  const text = (key: ConfigKeyName): string | undefined => {
    const value = given(key)
    if (/\p{Cc}/u.test(value)) throw new Unexpected('text without control characters')
    if (value.includes('\ufffd')) throw new Unexpected('text in UTF-8')
    return value === '' ? undefined : value
  }

  const pathIn = (value: string): string => {
    if (!isPath(value)) throw new Unexpected(PATH)
    return resolve(cwd, value)
  }

  return {
    whereOf,
    refuse,
    /** Whether it was wrong, so that its default stands in for it. */
    isRefused: (key: ConfigKeyName): boolean => refused.has(key),

    text: checked((key: KeyOf<'text'>) => text(key)),

    path: checked((key: KeyOf<'path'>): string | undefined => {
      const value = text(key)
      return value === undefined ? undefined : pathIn(value)
    }),

    paths: checked((key: KeyOf<'paths'>): string[] => {
      const parts = partsOf(text(key))
      return [...new Set(parts.map(pathIn))]
    }),

    host: checked((key: KeyOf<'host'>): string => {
      const value = given(key)
      if (!isHost(value)) throw new Unexpected('a host name or an IP address (the port is SMTP_PORT)')
      return value
    }),

    relays: checked((key: KeyOf<'relays'>): RelayName[] => {
      const found = new Map<string, RelayName>()
      for (const part of partsOf(text(key))) {
        const relay = parseRelay(part)
        if (relay === undefined) throw new Unexpected('host or host:port, several separated by ";"')
        found.set(relayText(relay), relay)
      }
      return [...found.values()]
    }),

    address: checked((key: KeyOf<'address'>): string | undefined => {
      const value = text(key)
      if (value === undefined) return undefined
      const domain = value.slice(value.lastIndexOf('@') + 1)
      const isComplete = value.includes('@') && (domain.startsWith('[') || isDomain(domainToASCII(domain)))
      if (addressProblem(value) || !isComplete) throw new Unexpected('one mail address, local@domain')
      return value
    }),

    domain: checked((key: KeyOf<'domain'>): string | undefined => {
      const value = text(key)
      if (value === undefined) return undefined
      const name = domainToASCII(value)
      if (!isDomain(name)) throw new Unexpected('a domain name')
      return name
    }),

    labels: checked((key: KeyOf<'labels'>): string | undefined => {
      const value = text(key)
      if (value !== undefined && !LABELS.test(value)) throw new Unexpected('labels of a domain name')
      return value
    }),

    command: checked((key: KeyOf<'command'>): readonly [string, ...string[]] | undefined => {
      const value = text(key)
      if (value === undefined) return undefined
      const [path, ...args] = wordsOf(value) ?? []
      if (path === undefined || !isAbsolute(path)) {
        throw new Unexpected('an absolute path and arguments, separated by blanks; quotes keep blanks together')
      }
      return [path, ...args]
    }),

    outlet: checked((key: KeyOf<'outlet'>): MetricsTarget | undefined => {
      const value = text(key)
      if (value === undefined) return undefined
      const port = Number(value)
      const isPort = /^\d+$/.test(value)
      // What begins like a number is a mistake before it is the name of a file.
      const isWrong = isPort ? port < 1 || port > 65_535 : /:\d+$/.test(value) || /^[-+.]?\d[^/]*$/.test(value)
      if (isWrong) throw new Unexpected('a port of this machine from 1 to 65535, or the path of a file')
      return isPort ? { port } : { file: pathIn(value) }
    }),

    mailbox: checked((key: KeyOf<'mailbox'>): CaptureTarget | undefined => {
      const value = text(key)
      if (value === undefined) return undefined
      const [, format, path] = /^(maildir|mbox):(.+)$/.exec(value) ?? []
      if (path === undefined) throw new Unexpected('maildir:/path or mbox:/path')
      return { format: format as CaptureTarget['format'], path: pathIn(path) }
    }),

    flag: checked((key: KeyOf<'flag'>): boolean => {
      const value = given(key)
      if (value !== '0' && value !== '1') throw new Unexpected('0 or 1')
      return value === '1'
    }),

    choice: checked(<Name extends KeyOf<'choice'>>(key: Name): ChoiceOf<Name> => {
      const of: Readonly<Record<string, string>> = CONFIG_KEYS[key].kind.of
      const chosen = Object.hasOwn(of, given(key)) ? of[given(key)] : undefined
      if (chosen === undefined) {
        const choices = Object.entries(of).map(([value, meaning]) =>
          value === meaning ? value : `${value} (${meaning})`,
        )
        throw new Unexpected(choices.join(', '))
      }
      return chosen as ChoiceOf<Name>
    }),

    /** In seconds. */
    duration: checked((key: KeyOf<'duration'>): number => {
      const value = parseDuration(given(key).trim()) ?? 0
      if (value === 0) throw new Unexpected(DURATION)
      return value
    }),

    rate: checked((key: KeyOf<'rate'>): Rate | undefined => {
      const value = text(key)
      if (value === undefined) return undefined
      const [, count, unit] = /^(\d{1,6})\/([smhd])$/.exec(value) ?? []
      const messages = Number(count)
      const isPossible = unit !== undefined && messages >= 1 && messages <= MAX_RATE
      if (!isPossible)
        throw new Unexpected(`1 to ${MAX_RATE} messages per second, minute, hour or day: 5/s, 60/m, 100/h, 2000/d`)
      return { messages, seconds: UNITS[unit as keyof typeof UNITS], text: value }
    }),

    number: checked((key: KeyOf<'integer' | 'number'>): number => {
      const { is, min, max, unit }: NumberKind = CONFIG_KEYS[key].kind
      const value = Number(given(key))
      const pattern = is === 'integer' ? /^\d+$/ : /^\d+(\.\d+)?$/
      if (!pattern.test(given(key)) || value < min || value > max) {
        throw new Unexpected(
          `${is === 'integer' ? 'a whole number' : 'a number'}${unit === undefined ? '' : ` of ${unit}`} from ${min} to ${max}`,
        )
      }
      return value
    }),
  }
}

/** As in the DNS (RFC 1035 section 2.3.1), and with the underlines that are usual there. */
const LABELS = /^(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$/

const PATH = 'a path, without ~ at its beginning or blanks around it, of at most 4095 bytes and 255 in each part'

/** Whether it is what somebody can mean who writes down a path; `~` is for a shell to expand, and a URL is none. */
function isPath(text: string): boolean {
  if (text !== text.trim() || /^~|^[a-z][a-z0-9+.-]*:\/\//i.test(text)) return false
  return Buffer.byteLength(text) <= 4095 && text.split('/').every(part => Buffer.byteLength(part) <= 255)
}

/** What stands between the semicolons; an empty part is as good as none, but not if all are. */
function partsOf(text: string | undefined): string[] {
  const parts = (text ?? '').split(';').map(part => part.trim())
  const found = parts.filter(part => part !== '')
  if (text !== undefined && found.length === 0) throw new Unexpected('at least one between the ";"')
  return found
}

const MOST_SHOWN = 200

const shortened = (value: string): string => (value.length > MOST_SHOWN ? `${value.slice(0, MOST_SHOWN)}…` : value)

const DURATION = 'a time of at least 1 second: seconds, or days, hours, minutes and seconds such as 5d, 2d 12h, 90m'
/** The time of each message is remembered. */
const MAX_RATE = 100_000

/** The words of a command; undefined if a quote is not closed. */
function wordsOf(text: string): string[] | undefined {
  if (!/^(?:[^\s"']|"[^"]*"|'[^']*'|\s)*$/.test(text)) return undefined
  const words = text.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? []
  return words.map(word => word.replace(/"([^"]*)"|'([^']*)'/g, '$1$2'))
}
