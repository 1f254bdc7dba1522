/** What the benchmarks store: objects whose records have about 300 bytes, and the same as plain values for the peers. */
import { BTree, type Connection, type Database, openDatabase, Persistent, registerClass } from 'maildrophost/lib'

export interface Attributes {
  number: number
  name: string
  price: number
  active: boolean
  tags: string[]
  text: string
}

export const attributes = (number: number): Attributes => ({
  number,
  name: `item number ${number}`,
  price: number + 0.25,
  active: true,
  tags: ['red', 'square'],
  text: 'the quick brown fox jumps over the lazy dog, '.repeat(5).slice(0, 160),
})

export class Item extends Persistent implements Attributes {
  declare number: number
  declare name: string
  declare price: number
  declare active: boolean
  declare tags: string[]
  declare text: string

  constructor(number: number) {
    super()
    const { name, price, active, tags, text } = attributes(number)
    this.number = number
    this.name = name
    this.price = price
    this.active = active
    this.tags = tags
    this.text = text
  }
}

/** Refers to items; what was made in one transaction. */
export class Group extends Persistent {
  items: Item[] = []
}

export class Store extends Persistent {
  latest = new Group()
  groups = new BTree<Group>()
}

registerClass('BenchItem', Item)
registerClass('BenchGroup', Group)
registerClass('BenchStore', Store)

const RECORD_BYTES = 300
export const record = (): Buffer => Buffer.alloc(RECORD_BYTES, 'record ')

export const openStore = (directory: string): Promise<Database<Store>> =>
  openDatabase(directory, { root: () => new Store() })

/** Adds a group of new items in one transaction. @returns their oids */
export function addGroup(db: Database<Store>, count: number, first = 0): Promise<number[]> {
  return db.transact(store => {
    const group = new Group()
    for (let i = 0; i < count; i++) group.items.push(new Item(first + i))
    store.groups.set(first, group)
    const connection = store._p_jar as Connection
    return group.items.map(item => connection.add(item))
  })
}
