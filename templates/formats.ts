/**
 * The helpers that write values for people, through Intl: dates, numbers, lists and words that agree with a count; and
 * `absoluteUrl`, since a mail has no page that an address could be relative to.
 *
 *     <<formatDate order.placed dateStyle="long" timeZone="Europe/Berlin" locale="de">>     24. November 2026
 *     <<formatNumber total currency="EUR" locale="de">>                                     1.234,50 €
 *     <<formatList names>>                                                                 Ann, Bob, and Cy
 *     <<pluralize count one="message" other="messages">>                                   messages
 *     <<absoluteUrl "/orders/7">>                                                          https://shop.example/orders/7
 *
 * Nothing is written for null and undefined. A locale, time zone or base that is not named is the rendering's own (`RenderOptions`).
 */
import { type Located, physicalPath } from '../lib/traversal.ts'
import type { HelperCall } from './builtins.ts'

/** What helpers use where a template does not say. */
export interface Locale {
  /** BCP 47 tag; `en` by default. */
  readonly locale?: string
  /** IANA name; `UTC` by default, so that a page does not depend on the machine. */
  readonly timeZone?: string
  /** The address of the root of the tree, such as `https://shop.example/`. */
  readonly baseUrl?: string
}

export interface Format {
  readonly arity: number
  readonly attributes: readonly string[]
  readonly value: (call: HelperCall) => string
}

export const FORMATS: Readonly<Record<string, Format>> = {
  formatDate: {
    arity: 1,
    attributes: ['locale', 'timeZone', 'dateStyle', 'timeStyle'],
    value: call => {
      const [value] = call.params
      if (value === undefined || value === null) return ''
      const date = value instanceof Date || typeof value === 'number' ? new Date(value) : dateOf(value)
      if (date === undefined || Number.isNaN(date.getTime()))
        throw call.refuse(`expected a date, milliseconds since 1970, or ISO 8601 text, found ${shown(value)}`)
      const { timeStyle, dateStyle = timeStyle === undefined ? 'medium' : undefined, ...others } = call.hash
      const options = { timeZone: call.locale.timeZone ?? 'UTC', ...others, ...set({ dateStyle, timeStyle }) }
      return intl(call, locale => new Intl.DateTimeFormat(locale, options).format(date))
    },
  },
  formatNumber: {
    arity: 1,
    attributes: ['locale', 'style', 'currency', 'minimumFractionDigits', 'maximumFractionDigits'],
    value: call => {
      const [value] = call.params
      if (value === undefined || value === null) return ''
      const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
      if ((typeof number !== 'number' && typeof number !== 'bigint') || Number.isNaN(number))
        throw call.refuse(`expected a number, found ${shown(value)}`)
      const style = call.hash.currency === undefined ? {} : { style: 'currency' as const }
      return intl(call, locale => new Intl.NumberFormat(locale, { ...style, ...call.hash }).format(number))
    },
  },
  formatList: {
    arity: 1,
    attributes: ['locale', 'type', 'style'],
    value: call => {
      const [value] = call.params
      if (value === undefined || value === null) return ''
      if (!Array.isArray(value)) throw call.refuse(`expected a list, found ${shown(value)}`)
      const texts = call.reader.settleAll(value).map(each => {
        if (typeof each === 'string' || typeof each === 'number') return String(each)
        throw call.refuse(`expected a list of texts, found ${shown(each)} in it`)
      })
      return intl(call, locale => new Intl.ListFormat(locale, call.hash).format(texts))
    },
  },
  pluralize: {
    arity: 1,
    attributes: ['locale', 'zero', 'one', 'two', 'few', 'many', 'other'],
    value: call => {
      const count = Number(call.params[0])
      if (Number.isNaN(count)) throw call.refuse(`expected a number, found ${shown(call.params[0])}`)
      const rule = intl(call, locale => new Intl.PluralRules(locale).select(count))
      const word = (count === 0 ? call.hash.zero : undefined) ?? call.hash[rule] ?? call.hash.other
      if (typeof word !== 'string') throw call.refuse(`expected the word for "${rule}", or other="…"`)
      return word
    },
  },
  absoluteUrl: {
    arity: 1,
    attributes: ['base'],
    value: call => {
      const base = call.hash.base ?? call.locale.baseUrl
      if (typeof base !== 'string' || !/^https?:\/\//.test(base) || !URL.canParse(base))
        throw call.refuse(`expected base="https://…", or the option baseUrl of the rendering, found ${shown(base)}`)
      const path = pathOf(call)
      const url = new URL(path.replace(/^\//, ''), base.endsWith('/') ? base : `${base}/`)
      // a value such as //elsewhere/ or javascript:… leads away from the base
      if (url.origin !== new URL(base).origin || url.username !== '')
        throw call.refuse(`expected a path below ${base}, found ${shown(path)}`)
      return url.href
    },
  },
}

function pathOf({ params: [value], refuse }: HelperCall): string {
  if (typeof value === 'string') return value
  if (typeof value === 'object' && value !== null && '__name__' in value)
    return physicalPath(value as Located)
      .split('/')
      .map(encodeURIComponent)
      .join('/')
  throw refuse(`expected a path or an object of the tree, found ${shown(value)}`)
}

/** ISO 8601, as JSON has dates: a day, or a time with its zone. */
function dateOf(value: unknown): Date | undefined {
  const iso = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d))?$/
  return typeof value === 'string' && iso.test(value) ? new Date(value) : undefined
}

/** What Intl makes of it; a name that it does not know is the template's fault. */
function intl<T>(call: HelperCall, format: (locale: string) => T): T {
  try {
    return format(String(call.hash.locale ?? call.locale.locale ?? 'en'))
  } catch (error) {
    if (error instanceof RangeError || error instanceof TypeError) throw call.refuse(error.message)
    throw error
  }
}

function set(options: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function shown(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object'
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 60)) : String(value)
}
