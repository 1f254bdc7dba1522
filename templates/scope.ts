/**
 * What names mean at a point of a template, and how attributes are read.
 *
 * Only own properties of data are read: nothing of a prototype, nothing of a function, and no function of the data is
 * ever called. A promise is read as what it resolves to; until then reading it throws `Pending` (see `render.ts`).
 */
import { isPromise } from 'node:util/types'
import type { Path, Program } from './ast.ts'

/** Thrown when values are promises that have not been awaited; not an error. */
export class Pending {
  readonly promises: readonly Promise<unknown>[]

  constructor(promises: readonly Promise<unknown>[]) {
    this.promises = promises
  }
}

/** What the promises met so far have resolved to. */
export type Settled = Map<Promise<unknown>, PromiseSettledResult<unknown>>

/** A program and the scope it was written in: an inline partial, or the block of a partial. */
export interface Closure {
  readonly program: Program
  readonly scope: Scope
}

export interface Scope {
  readonly file: string
  /** `this`, and for `../` those around it. */
  readonly contexts: readonly unknown[]
  /** @root, @index …: innermost first, as @../index counts them. */
  readonly frames: readonly Readonly<Record<string, unknown>>[]
  readonly blockParams: ReadonlyMap<string, unknown>
  readonly inlinePartials: ReadonlyMap<string, Closure>
  /** What {{> @partial-block}} renders. */
  readonly partialBlock: Closure | undefined
}

/** A block's own variables. */
export interface Locals {
  readonly frame?: Readonly<Record<string, unknown>>
  readonly blockParams?: readonly unknown[]
}

/** The scope inside a block with that context. */
export function enter(
  scope: Scope,
  context: unknown,
  { frame, blockParams = [] }: Locals,
  names: readonly string[] = [],
): Scope {
  return {
    ...scope,
    contexts: context === scope.contexts[0] ? scope.contexts : [context, ...scope.contexts],
    frames: frame ? [{ ...scope.frames[0], ...frame }, ...scope.frames] : scope.frames,
    blockParams:
      names.length === 0
        ? scope.blockParams
        : new Map([...scope.blockParams, ...names.map((name, i) => [name, blockParams[i]] as const)]),
  }
}

export class Reader {
  readonly #settled: Settled

  constructor(settled: Settled) {
    this.#settled = settled
  }

  /** The value at a path, undefined where it leads nowhere. */
  read(path: Path, scope: Scope): unknown {
    const scoped = /^\.|this\b/.test(path.original)
    const [first, ...more] = path.parts
    if (path.data) return this.#follow(scope.frames[path.depth] ?? {}, path.parts)
    if (first !== undefined && path.depth === 0 && !scoped && scope.blockParams.has(first))
      return this.#follow(this.settle(scope.blockParams.get(first)), more)
    return this.#follow(this.settle(scope.contexts[path.depth]), path.parts)
  }

  #follow(start: unknown, names: readonly string[]): unknown {
    return names.reduce((at, name) => this.property(at, name), start)
  }

  /** The own property `name` of `value`; an object or a function is no name. */
  property(value: unknown, name: unknown): unknown {
    if (value === undefined || value === null || typeof value === 'function') return undefined
    if (typeof name === 'object' || typeof name === 'function') return undefined
    const key = String(name)
    return Object.hasOwn(value, key) ? this.settle((value as Record<string, unknown>)[key]) : undefined
  }

  /** What a promise resolved to; any other value is itself. */
  settle(value: unknown): unknown {
    if (!isPromise(value)) return value
    const result = this.#settled.get(value)
    if (result === undefined) throw new Pending([value])
    if (result.status === 'rejected') throw result.reason
    return result.value
  }

  /** As `settle`, of a list; its promises are awaited together. */
  settleAll(values: readonly unknown[]): unknown[] {
    const pending = values.filter(isPromise).filter(promise => !this.#settled.has(promise))
    if (pending.length > 0) throw new Pending(pending)
    return values.map(value => this.settle(value))
  }
}
