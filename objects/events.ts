/**
 * Events of the tree: who wants to know hears when objects are added to it, moved in it, removed from it, or have a property set.
 *
 * Listeners belong to a database of this process and are not stored. They are called at once, inside the transaction, so what they change is
 * committed or aborted with it; a catalog can be kept that way. When a folder is added, moved or removed, they hear of everything in it
 * too, the outer first. A listener that throws fails the operation: it is taken back and its error comes out. If other
 * calls had been made for the same operation by then, the transaction is doomed as well, because what those did stands.
 */
import {
  type Connection,
  checkFunction,
  checkOptions,
  Database,
  type Persistent,
  type PersistentClass,
  parents,
  type Transaction,
  unexpected,
} from '../lib/index.ts'
import type { Application } from './application.ts'

/** What a listener of `subscribe` is told. */
export interface TreeEvent {
  readonly type: 'added' | 'removed' | 'moved' | 'modified'
  readonly object: Persistent
  /** Where it is; of a removed one, where it was. */
  readonly path: string
  /** Of a moved one, where it was. */
  readonly oldPath?: string
  /** The tree's root, as the transaction sees it. */
  readonly app: Application
  readonly transaction: Transaction
}

export type TreeListener = (event: TreeEvent) => void

export interface SubscribeOptions {
  /** Only what is, or was, at this path or below it. */
  readonly under?: string
  /** Only objects of this class. */
  readonly type?: PersistentClass
}

type Subscription = SubscribeOptions & { readonly listener: TreeListener }

const subscriptions = new WeakMap<Database, Set<Subscription>>()

/** Has `listener` called for each event in the trees of that database. @returns what ends it */
export function subscribe(database: Database, listener: TreeListener, options: SubscribeOptions = {}): () => void {
  const { under, type } = checkOptions('subscribe', options)
  if (!(database instanceof Database)) throw unexpected('subscribe', 'a database', database)
  if (under !== undefined && typeof under !== 'string') throw unexpected('subscribe: under', 'a path', under)
  if (type !== undefined && !(type?.prototype instanceof Object))
    throw unexpected('subscribe: type', 'a class of objects', type)
  const subscription = { ...options, listener: checkFunction('subscribe', listener) }
  const all = subscriptions.get(database) ?? new Set()
  subscriptions.set(database, all.add(subscription))
  return () => void all.delete(subscription)
}

/** What happened to one object. */
export type Place = Pick<TreeEvent, 'object' | 'path' | 'oldPath'>

/** The connection that an object belongs to, or will with its containers; undefined if it is not in a stored tree. */
export function connectionOf(object: Persistent): Connection | undefined {
  if (object._p_jar !== undefined) return object._p_jar as Connection
  for (const at of parents(object) as Iterable<Persistent>) if (at._p_jar !== undefined) return at._p_jar as Connection
  return undefined
}

/**
 * Tells the listeners of what happened.
 * @param near an object that is in the tree
 * @param places asked for only if there are listeners
 * @throws whatever a listener throws
 */
export function announce(near: Persistent, type: TreeEvent['type'], places: () => Iterable<Place>): void {
  const connection = connectionOf(near)
  const listening = connection && subscriptions.get(connection.database)
  if (listening === undefined || listening.size === 0) return
  const { root, transaction } = connection as Connection<Application>
  let told = 0
  for (const place of places())
    for (const subscription of [...listening]) {
      if (!concerns(subscription, place)) continue
      try {
        subscription.listener({ type, ...place, app: root, transaction })
      } catch (error) {
        if (told > 0 && transaction.status === 'active') transaction.doom()
        throw error
      }
      told += 1
    }
}

function concerns({ under, type }: Subscription, { object, path, oldPath }: Place): boolean {
  if (type !== undefined && !(object instanceof type)) return false
  return under === undefined || isUnder(path, under) || (oldPath !== undefined && isUnder(oldPath, under))
}

function isUnder(path: string, top: string): boolean {
  const prefix = top.endsWith('/') ? top : `${top}/`
  return `${path}/`.startsWith(prefix)
}
