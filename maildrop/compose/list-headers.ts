/**
 * The headers of mailing lists (RFC 2369, RFC 2919), from the field `list` of a message object:
 *
 *     list: { unsubscribe: 'https://shop.example/off?u=7', help: 'help@example.org', id: { url: 'news.example.org', comment: 'Our news' } }
 */
import { parseMailbox } from './address-parser.ts'
import { ComposeError } from './errors.ts'
import { shown } from './header-parts.ts'
import { encodePhrase, foldHeader } from './header-text.ts'
import type { Header } from './headers.ts'

/** A web or mail address, or an address with a comment for people. */
export type ListEntry = string | { readonly url: string; readonly comment?: string }

export type ListField = 'help' | 'unsubscribe' | 'subscribe' | 'post' | 'owner' | 'archive' | 'id'

/** In a list of entries a receiver takes the first that it can use. */
export type ListInput = Readonly<Partial<Record<ListField, ListEntry | readonly ListEntry[]>>>

const NAMES: Readonly<Record<ListField, string>> = {
  help: 'List-Help',
  unsubscribe: 'List-Unsubscribe',
  subscribe: 'List-Subscribe',
  post: 'List-Post',
  owner: 'List-Owner',
  archive: 'List-Archive',
  id: 'List-ID',
}

/** @throws {ComposeError} BAD_MESSAGE, BAD_ADDRESS */
export function listHeaders(list: ListInput): Header[] {
  return Object.entries(list).map(([field, entries]) => {
    if (!Object.hasOwn(NAMES, field))
      throw new ComposeError('BAD_MESSAGE', `list: expected ${Object.keys(NAMES).join(', ')}, found '${field}'`)
    const name = NAMES[field as ListField]
    const write = field === 'id' ? formatId : formatEntry
    const value = [entries]
      .flat()
      .map(entry => write(entry as ListEntry, name))
      .join(', ')
    return { name, parts: [value], lines: foldHeader(name, value) }
  })
}

function formatEntry(entry: ListEntry, name: string): string {
  const { url, comment } = read(entry, name)
  const address = URL.canParse(url) && /^(https?|mailto|ftp):/i.test(url) ? new URL(url).href : mailto(url, name)
  return comment === undefined ? `<${address}>` : `<${address}> (${encodeComment(comment)})`
}

/** RFC 2919 section 2: a phrase, and an identifier that looks like a domain. */
function formatId(entry: ListEntry, name: string): string {
  const { url, comment } = read(entry, name)
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(url))
    throw new ComposeError(
      'BAD_MESSAGE',
      `${name}: expected an identifier such as news.example.org, found ${shown([url])}`,
    )
  return comment === undefined ? `<${url}>` : `${encodePhrase(comment)} <${url}>`
}

function mailto(text: string, name: string): string {
  const [address = '', ...query] = text.split('?')
  const { address: checked } = parseMailbox(address, name)
  return new URL(`mailto:${checked}${query.length > 0 ? `?${query.join('?')}` : ''}`).href
}

function read(entry: unknown, name: string): { url: string; comment?: string } {
  if (typeof entry === 'string') return { url: entry }
  if (typeof entry === 'object' && entry !== null && 'url' in entry && typeof entry.url === 'string') {
    const comment = 'comment' in entry ? entry.comment : undefined
    if (comment === undefined) return { url: entry.url }
    if (typeof comment === 'string') return { url: entry.url, comment }
  }
  throw new ComposeError('BAD_MESSAGE', `${name}: expected an address, or { url, comment }, found ${typeof entry}`)
}

/** RFC 5322 section 3.2.2, with encoded-words where it is not ASCII. */
function encodeComment(text: string): string {
  const phrase = encodePhrase(text)
  return phrase.startsWith('"') ? phrase.slice(1, -1).replace(/[()]/g, '\\$&') : phrase
}
