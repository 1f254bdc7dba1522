/**
 * Turns the raw text of a configuration key into its value, by the kind that the table of keys gives it.
 *
 * A wrong value is a CONFIG_INVALID that names key, value (masked if secret), file and line, and what is expected.
 */
import { isAbsolute, resolve } from 'node:path'
import type { CaptureTarget } from './capture/mailbox.ts'
import type { MetricsTarget, Rate, Setting } from './config.ts'
import { MaildropError } from './errors.ts'
import { CONFIG_KEYS, type ConfigKeyName, type KeyKind, shownValue } from './keys.ts'
import { isHost, parseRelay, type RelayName, relayText } from './relays.ts'
import { addressProblem } from './spool/address.ts'

/** The keys of one kind. */
type KeyOf<Is extends KeyKind['is']> = {
  [Name in ConfigKeyName]: (typeof CONFIG_KEYS)[Name]['kind']['is'] extends Is ? Name : never
}[ConfigKeyName]

type NumberKind = Extract<KeyKind, { is: 'integer' | 'number' }>

type ChoiceOf<Name extends KeyOf<'choice'>> = (typeof CONFIG_KEYS)[Name]['kind']['of'] extends infer Of
  ? Of[keyof Of]
  : never

/** One reader per kind; each takes the name of a key. */
export function readValue(settings: ReadonlyMap<ConfigKeyName, Setting>, cwd: string) {
  const given = (key: ConfigKeyName): string => settings.get(key)?.value || CONFIG_KEYS[key].default

  const wrong = (key: ConfigKeyName, expected: string): MaildropError => {
    const where = settings.get(key)?.where ?? 'default'
    const value = JSON.stringify(shownValue(key, given(key)))
    return new MaildropError('CONFIG_INVALID', `${where}: ${key} is ${value}; expected ${expected}`)
  }

  const text = (key: ConfigKeyName): string | undefined => {
    const value = given(key)
    if (/\p{Cc}/u.test(value)) throw wrong(key, 'text without control characters')
    return value === '' ? undefined : value
  }

  return {
    text: (key: KeyOf<'text'>) => text(key),

    path(key: KeyOf<'path'>): string | undefined {
      const value = text(key)
      return value === undefined ? undefined : resolve(cwd, value)
    },

    paths(key: KeyOf<'paths'>): string[] {
      const parts = (text(key) ?? '').split(';').map(part => part.trim())
      return [...new Set(parts.filter(part => part !== '').map(part => resolve(cwd, part)))]
    },

    host(key: KeyOf<'host'>): string {
      const value = given(key)
      if (!isHost(value)) throw wrong(key, 'a host name or an IP address (the port is SMTP_PORT)')
      return value
    },

    relays(key: KeyOf<'relays'>): RelayName[] {
      const found = new Map<string, RelayName>()
      for (const part of (text(key) ?? '').split(';').map(part => part.trim())) {
        if (part === '') continue
        const relay = parseRelay(part)
        if (relay === undefined) throw wrong(key, 'host or host:port, several separated by ";"')
        found.set(relayText(relay), relay)
      }
      return [...found.values()]
    },

    address(key: KeyOf<'address'>): string | undefined {
      const value = text(key)
      if (value !== undefined && addressProblem(value)) throw wrong(key, 'one mail address, local@domain')
      return value
    },

    command(key: KeyOf<'command'>): readonly [string, ...string[]] | undefined {
      const value = text(key)
      if (value === undefined) return undefined
      const [path, ...args] = wordsOf(value) ?? []
      if (path === undefined || !isAbsolute(path)) {
        throw wrong(key, 'an absolute path and arguments, separated by blanks; quotes keep blanks together')
      }
      return [path, ...args]
    },

    outlet(key: KeyOf<'outlet'>): MetricsTarget | undefined {
      const value = text(key)
      if (value === undefined) return undefined
      const port = Number(value)
      const isWrong = /^\d+$/.test(value) ? port < 1 || port > 65_535 : /:\d+$/.test(value)
      if (isWrong) throw wrong(key, 'a port of this machine from 1 to 65535, or the path of a file')
      if (!/^\d+$/.test(value)) return { file: resolve(cwd, value) }
      return { port }
    },

    mailbox(key: KeyOf<'mailbox'>): CaptureTarget | undefined {
      const value = text(key)
      if (value === undefined) return undefined
      const [, format, path] = /^(maildir|mbox):(.+)$/.exec(value) ?? []
      if (path === undefined) throw wrong(key, 'maildir:/path or mbox:/path')
      return { format: format as CaptureTarget['format'], path: resolve(cwd, path) }
    },

    flag(key: KeyOf<'flag'>): boolean {
      const value = given(key)
      if (value !== '0' && value !== '1') throw wrong(key, '0 or 1')
      return value === '1'
    },

    choice<Name extends KeyOf<'choice'>>(key: Name): ChoiceOf<Name> {
      const of: Readonly<Record<string, string>> = CONFIG_KEYS[key].kind.of
      const chosen = Object.hasOwn(of, given(key)) ? of[given(key)] : undefined
      if (chosen === undefined) {
        const choices = Object.entries(of).map(([value, meaning]) =>
          value === meaning ? value : `${value} (${meaning})`,
        )
        throw wrong(key, choices.join(', '))
      }
      return chosen as ChoiceOf<Name>
    },

    /** In seconds. */
    duration(key: KeyOf<'duration'>): number {
      const value = parseDuration(given(key))
      if (value === undefined) throw wrong(key, DURATION)
      return value
    },

    rate(key: KeyOf<'rate'>): Rate | undefined {
      const value = text(key)
      if (value === undefined) return undefined
      const [, count, unit] = /^(\d{1,6})\/([smhd])$/.exec(value) ?? []
      const messages = Number(count)
      const isPossible = unit !== undefined && messages >= 1 && messages <= MAX_RATE
      if (!isPossible)
        throw wrong(key, `1 to ${MAX_RATE} messages per second, minute, hour or day: 5/s, 60/m, 100/h, 2000/d`)
      return { messages, seconds: UNITS[unit as keyof typeof UNITS], text: value }
    },

    number(key: KeyOf<'integer' | 'number'>): number {
      const { is, min, max, unit }: NumberKind = CONFIG_KEYS[key].kind
      const value = Number(given(key))
      const pattern = is === 'integer' ? /^\d+$/ : /^\d+(\.\d+)?$/
      if (!pattern.test(given(key)) || value < min || value > max) {
        throw wrong(
          key,
          `${is === 'integer' ? 'a whole number' : 'a number'}${unit === undefined ? '' : ` of ${unit}`} from ${min} to ${max}`,
        )
      }
      return value
    },
  }
}

const DURATION = 'a time of at least 1 second: seconds, or days, hours, minutes and seconds such as 5d, 2d 12h, 90m'
/** The time of each message is remembered. */
const MAX_RATE = 100_000
const UNITS = { d: 86_400, h: 3600, m: 60, s: 1 } as const

/** `90`, `5d`, `2d 12h`, `1h30m` in seconds, or undefined. */
function parseDuration(text: string): number | undefined {
  const [, plain, d, h, m, s] =
    /^(?:(\d{1,9})|(?:(\d{1,5})d)? ?(?:(\d{1,7})h)? ?(?:(\d{1,8})m)? ?(?:(\d{1,9})s)?)$/.exec(text.trim()) ?? []
  const seconds =
    Number(plain ?? 0) + Object.values(UNITS).reduce((sum, unit, i) => sum + unit * Number([d, h, m, s][i] ?? 0), 0)
  return seconds > 0 ? seconds : undefined
}

/** The words of a command; undefined if a quote is not closed. */
function wordsOf(text: string): string[] | undefined {
  if (!/^(?:[^\s"']|"[^"]*"|'[^']*'|\s)*$/.test(text)) return undefined
  const words = text.match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g) ?? []
  return words.map(word => word.replace(/"([^"]*)"|'([^']*)'/g, '$1$2'))
}
