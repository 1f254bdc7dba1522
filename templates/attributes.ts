/**
 * Attributes of the mail blocks: which there are, and the literal ones checked when the template is compiled.
 */
import type { Expression, Hash, Located } from './ast.ts'
import { type Place, TemplateError, type TemplateErrorCode } from './errors.ts'
import { textOf } from './output.ts'

/** What is wrong with a block as it is written. */
export interface Fault {
  readonly code: TemplateErrorCode
  readonly at: Located
  readonly what: string
}

/** The attributes of a block: for each the words it may have, or undefined for any value. */
export type Attributes = Readonly<Record<string, readonly string[] | undefined>>

/** An attribute that does not exist, stands twice, or is a literal none of its words. */
export function attributeFault(block: string, hash: Hash | undefined, attributes: Attributes): Fault | undefined {
  const pairs = hash?.pairs ?? []
  for (const [i, pair] of pairs.entries()) {
    const { key, value } = pair
    const fault = (what: string): Fault => ({ code: 'TEMPLATE_SYNTAX', at: pair, what })
    if (!Object.hasOwn(attributes, key))
      return fault(`${block} has no attribute '${key}'; expected ${Object.keys(attributes).join(', ')}`)
    if (pairs.findIndex(other => other.key === key) < i) return fault(`${block} has the attribute '${key}' twice`)
    const words = attributes[key]
    if (words !== undefined && isLiteral(value) && !words.includes(String(value.value)))
      return fault(`${key}: expected ${words.join(', ')}, found '${value.value}'`)
  }
  return undefined
}

function isLiteral(value: Expression): value is Expression & { value: string | number | boolean } {
  return value.type === 'StringLiteral' || value.type === 'NumberLiteral' || value.type === 'BooleanLiteral'
}

/** The text of an attribute's value. @throws {TemplateError} TEMPLATE_RENDER */
export function attributeText(value: unknown, attribute: string, place: Place): string {
  return textOf(value, what => new TemplateError('TEMPLATE_RENDER', place, `${attribute}: ${what}`))
}

/** The word that an attribute's value is. @throws {TemplateError} TEMPLATE_RENDER */
export function attributeWord<Word extends string>(
  value: unknown,
  attribute: string,
  words: readonly Word[],
  place: Place,
): Word {
  const word = words.find(one => one === value)
  if (word !== undefined) return word
  const what = `${attribute}: expected ${words.join(', ')}, found ${JSON.stringify(value)}`
  throw new TemplateError('TEMPLATE_RENDER', place, what)
}
