/**
 * Declared properties: what can be set from text (the command line), with its type.
 *
 * A class declares them as `static properties`; a subclass inherits its parent's.
 */
import { ObjectError, type Persistent } from '../lib/index.ts'

export interface PropertySpec {
  readonly type: 'string' | 'boolean' | 'choice'
  /** For type `choice`. */
  readonly choices?: readonly string[]
  readonly description: string
}

export type Properties = Readonly<Record<string, PropertySpec>>

/** The properties that an object's class declares, its parents' first. */
export function propertiesOf(object: Persistent): Properties {
  const found: Record<string, PropertySpec> = {}
  for (let at: unknown = object.constructor; typeof at === 'function'; at = Object.getPrototypeOf(at))
    for (const [name, spec] of Object.entries((at as { properties?: Properties }).properties ?? {}))
      found[name] ??= spec
  return found
}

/**
 * Sets a declared property from text.
 * @throws {ObjectError} NOT_FOUND for a property that is not declared, INVALID_ARGUMENT for a text of the wrong form
 */
export function setProperty(object: Persistent, name: string, text: string): void {
  const properties = propertiesOf(object)
  const spec = Object.hasOwn(properties, name) ? properties[name] : undefined
  if (spec === undefined) {
    const known = Object.keys(properties).join(', ') || 'none'
    throw new ObjectError(
      'NOT_FOUND',
      `${object.constructor.name} has no property '${name}' that can be set; it has: ${known}`,
    )
  }
  Reflect.set(object, name, fromText(spec, name, text))
}

function fromText(spec: PropertySpec, name: string, text: string): unknown {
  if (spec.type === 'string') return text
  const expected = spec.type === 'boolean' ? ['true', 'false'] : (spec.choices ?? [])
  if (!expected.includes(text))
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `property '${name}' must be ${expected.join(' or ')}, found ${JSON.stringify(text)}`,
    )
  return spec.type === 'boolean' ? text === 'true' : text
}
