/**
 * Reads address lists (RFC 5322 §3.4, §3.6.3) strictly, with values in them.
 *
 * Where a value stands alone as an entry of the list, it must be exactly one address (a string, with or without a
 * display name, or `{ name, address }`), or an array of such; empty ones add nobody. Anywhere else it is a piece of the
 * word it stands in: of a display name, of a local part, of a domain. So no value adds a recipient but by being an array.
 * Everything that is not an address list is refused with `BAD_ADDRESS`, which names the place, the text and the position.
 */

import { type Address, type Mailbox, mailboxesOf, normalAddress } from './address.ts'
import { characterAt, readTokens, type Token } from './address-lexer.ts'
import { ComposeError } from './errors.ts'
import { type HeaderPart, shown, valueText } from './header-parts.ts'
import { cleanText, decodeWords } from './header-text.ts'

type Word = Extract<Token, { kind: 'word' }>

/**
 * @param list the text of the list, or its text and values
 * @param where the header's or parameter's name, for errors
 * @throws {ComposeError} BAD_ADDRESS
 */
export function parseAddresses(list: string | readonly HeaderPart[], where: string): Address[] {
  return new Parser(typeof list === 'string' ? [list] : list, where, decodeWords).list()
}

/**
 * Reads exactly one mailbox from data: an encoded-word in it is text like any other.
 * @throws {ComposeError} BAD_ADDRESS
 */
export function parseMailbox(text: string, where: string): Mailbox {
  const [, local, domain] = PLAIN.exec(text) ?? []
  if (local !== undefined && domain !== undefined) return { name: '', address: normalAddress(local, domain, where) }
  const [mailbox, ...more] = new Parser([text], where, words => words).list()
  if (mailbox === undefined || 'members' in mailbox || more.length > 0)
    throw new ComposeError('BAD_ADDRESS', `${where}: expected exactly one address, found ${shown([text])}`)
  return mailbox
}

/** What most addresses look like: words and dots only. Read as the parser would, in a third of the time. */
const PLAIN = /^([\w+-]+(?:\.[\w+-]+)*)@([a-z0-9-]+(?:\.[a-z0-9-]+)*)$/

class Parser {
  readonly #parts: readonly HeaderPart[]
  readonly #where: string
  readonly #readWords: (text: string) => string
  readonly #tokens: Token[]
  #next = 0

  /** @param readWords reads the encoded-words of a display name */
  constructor(parts: readonly HeaderPart[], where: string, readWords: (text: string) => string) {
    this.#parts = parts
    this.#where = where
    this.#readWords = readWords
    this.#tokens = readTokens(parts, where)
  }

  list(): Address[] {
    const addresses: Address[] = []
    while (this.#peek() !== undefined) {
      if (this.#accept(',')) continue
      addresses.push(...this.#address(true))
      if (this.#peek() !== undefined && !this.#accept(',')) throw this.#unexpected('a comma between two addresses')
    }
    return addresses
  }

  /** One entry: a mailbox, a group where those may stand, or what a value that stands alone names. */
  #address(groups: boolean): Address[] {
    const words = this.#words()
    const [only] = words
    if (this.#accept('<')) {
      const address = this.#angle()
      if (!this.#accept('>')) throw this.#unexpected("'>'")
      return [{ name: this.#phrase(words), address }]
    }
    if (groups && words.length > 0 && this.#accept(':'))
      return [{ name: this.#phrase(words), members: this.#members() }]
    if (words.length === 1 && only && this.#accept('@')) return [{ name: '', address: this.#domain(only) }]
    if (words.length === 1 && only && isLoneValue(only)) return readValue(only.parts[0].value, this.#where)
    const last = words.at(-1)
    if (words.length > 1 && last && isLoneValue(last))
      throw this.#unexpected("'@', or < and > around the value that is the address, as in < {{email}} >,")
    throw this.#unexpected(words.length > 0 ? "an address with an '@'" : 'an address')
  }

  #members(): Mailbox[] {
    const members: Mailbox[] = []
    while (!this.#accept(';')) {
      if (this.#peek() === undefined) throw this.#unexpected("the ';' that ends the group")
      if (this.#accept(',')) continue
      members.push(...mailboxesOf(this.#address(false)))
      const next = this.#peek()
      if (next?.kind !== 'sign' || (next.sign !== ',' && next.sign !== ';')) throw this.#unexpected("',' or ';'")
    }
    return members
  }

  /** What stands between `<` and `>`. */
  #angle(): string {
    const [local, ...more] = this.#words()
    if (local === undefined || more.length > 0) throw this.#unexpected("an address between '<' and '>'")
    if (this.#accept('@')) return this.#domain(local)
    const [mailbox] = isLoneValue(local) ? readValue(local.parts[0].value, this.#where) : []
    if (mailbox === undefined || mailbox.name !== '') throw this.#unexpected("an address between '<' and '>'")
    return mailbox.address
  }

  /** The domain after `local@`; answers the whole address. */
  #domain(local: Word): string {
    const token = this.#peek()
    if (token === undefined || token.kind === 'sign' || (token.kind === 'word' && token.quoted))
      throw this.#unexpected("a domain after '@'")
    this.#next += 1
    const domain = token.kind === 'word' ? this.#textOf(token) : token.text
    if (!local.quoted && !/^[^.]+(\.[^.]+)*$/u.test(this.#textOf(local)))
      throw new ComposeError(
        'BAD_ADDRESS',
        `${this.#where}: a dot at an end, or two in a row, before the @ in ${shown(this.#parts)}`,
      )
    return normalAddress(this.#textOf(local), domain, this.#where)
  }

  #words(): Word[] {
    const words: Word[] = []
    for (let token = this.#peek(); token?.kind === 'word'; token = this.#peek()) {
      words.push(token)
      this.#next += 1
    }
    return words
  }

  /** A display name: its words joined by spaces. Encoded-words are read in bare text only (RFC 2047 §5). */
  #phrase(words: readonly Word[]): string {
    let name = ''
    let bare = ''
    for (const word of words) {
      if (!word.quoted && word.parts.every(part => typeof part === 'string')) bare += ` ${this.#textOf(word)}`
      else {
        name += `${this.#readWords(bare)} ${this.#textOf(word)}`
        bare = ''
      }
    }
    return cleanText(name + this.#readWords(bare))
  }

  #textOf(word: Word): string {
    return word.parts.map(part => (typeof part === 'string' ? part : valueText(part.value, this.#where))).join('')
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#next]
  }

  #accept(sign: string): boolean {
    const token = this.#peek()
    const accepted = token?.kind === 'sign' && token.sign === sign
    if (accepted) this.#next += 1
    return accepted
  }

  #unexpected(expected: string): ComposeError {
    const token = this.#peek()
    const place = token === undefined ? 'at the end' : `at character ${characterAt(this.#parts, token.at)}`
    return new ComposeError('BAD_ADDRESS', `${this.#where}: expected ${expected} ${place} of ${shown(this.#parts)}`)
  }
}

function isLoneValue(word: Word): word is Word & { parts: [{ value: unknown }] } {
  return !word.quoted && word.parts.length === 1 && typeof word.parts[0] === 'object'
}

/** The mailboxes that a value in the place of an address names. */
function readValue(value: unknown, where: string): Mailbox[] {
  if (Array.isArray(value)) return value.flatMap(entry => readOne(entry, where))
  return readOne(value, where)
}

function readOne(value: unknown, where: string): Mailbox[] {
  if (value === undefined || value === null || value === '') return []
  if (typeof value === 'string') return [parseMailbox(value, where)]
  if (typeof value === 'object' && 'address' in value && typeof value.address === 'string') {
    const name = 'name' in value && typeof value.name === 'string' ? value.name : ''
    return [{ name: cleanText(name), address: parseMailbox(value.address, where).address }]
  }
  throw new ComposeError(
    'BAD_ADDRESS',
    `${where}: expected an address, found ${Array.isArray(value) ? 'a list in a list' : `a value of type ${typeof value}`}`,
  )
}
