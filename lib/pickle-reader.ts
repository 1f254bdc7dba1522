/**
 * Reads states (lib/pickle.ts has the format). What the bytes claim is believed only as far as they go: nothing is allocated for a
 * length that is not there. Whatever is wrong is thrown as an ordinary Error.
 */
import { nameIn } from './names.ts'
import type { Resolve } from './pickle.ts'
import { LEAF_TYPES, unpackLeaf } from './pickle-leaves.ts'
import { FIXEXT_1, fromSpecial, Graph, Node, REFERENCE, SPECIAL } from './pickle-values.ts'
import { Reference } from './reference.ts'

export class StateReader {
  private bytes!: Buffer
  private at = 0
  private resolve!: Resolve
  /** Nodes that no graph has put in their places yet. */
  private loose = 0
  private graph: Graph | undefined
  private depth = 0
  /** Whether a reference in an array that is an attribute stays one. */
  private bare = false

  /**
   * @param at where in the bytes the state begins; it goes to their end
   * @param record is filled with the attributes
   * @param bare leaves references that are elements of an array that is an attribute
   * @returns the record; or that of the graph, if the state is one
   */
  read(
    bytes: Buffer,
    at: number,
    resolve: Resolve,
    record: Record<string, unknown>,
    bare: boolean,
  ): Record<string, unknown> {
    this.begin(bytes, at, resolve)
    this.bare = bare
    const head = this.byte()
    if (head >= 0x80 && head < 0x90) this.members(record, head & 0x0f)
    else if (head === 0xde) this.members(record, this.uint(2))
    else if (head === 0xdf) this.members(record, this.uint(4))
    else throw new Error('it holds no attributes')
    if (this.at !== bytes.length) throw new Error('something follows it')
    if (this.loose > 0) throw new Error('a node outside of a graph')
    if (this.graph === undefined) return record
    if (this.graph !== record['']) throw new Error('a graph that is not the whole state')
    return this.graph.record
  }

  private begin(bytes: Buffer, at: number, resolve: Resolve): void {
    this.bytes = bytes
    this.at = at
    this.resolve = resolve
    this.loose = 0
    this.graph = undefined
    this.depth = 0
  }

  private members(record: Record<string, unknown>, count: number): Record<string, unknown> {
    for (let i = 0; i < count; i++) {
      const name = this.name()
      if (name === '__proto__') throw new Error(`an attribute has the name ${name}`)
      record[name] = this.value()
    }
    return record
  }

  private value(): unknown {
    const head = this.byte()
    if (head < 0x80) return head
    if (head < 0x90) return this.map(head & 0x0f)
    if (head < 0xa0) return this.array(head & 0x0f)
    if (head < 0xc0) return this.text(head & 0x1f)
    if (head >= 0xe0) return head - 0x100
    switch (head) {
      case 0xc0:
        return null
      case 0xc2:
        return false
      case 0xc3:
        return true
      case 0xc4:
        return this.binary(this.byte())
      case 0xc5:
        return this.binary(this.uint(2))
      case 0xc6:
        return this.binary(this.uint(4))
      case 0xca:
        return this.bytes.readFloatBE(this.take(4))
      case 0xcb:
        return this.bytes.readDoubleBE(this.take(8))
      case 0xcc:
        return this.byte()
      case 0xcd:
        return this.uint(2)
      case 0xce:
        return this.uint(4)
      case 0xcf:
        return this.bytes.readBigUInt64BE(this.take(8))
      case 0xd0:
        return this.bytes.readInt8(this.take(1))
      case 0xd1:
        return this.bytes.readInt16BE(this.take(2))
      case 0xd2:
        return this.bytes.readInt32BE(this.take(4))
      case 0xd3:
        return this.bytes.readBigInt64BE(this.take(8))
      case FIXEXT_1:
        return this.ours()
      case 0xd9:
        return this.text(this.byte())
      case 0xda:
        return this.text(this.uint(2))
      case 0xdb:
        return this.text(this.uint(4))
      case 0xdc:
        return this.array(this.uint(2))
      case 0xdd:
        return this.array(this.uint(4))
      case 0xde:
        return this.map(this.uint(2))
      case 0xdf:
        return this.map(this.uint(4))
    }
    return this.extension(head)
  }

  private map(count: number): Record<string, unknown> {
    this.enter(count * 2)
    const { bare } = this
    this.bare = false
    const record = this.members({}, count)
    this.bare = bare
    this.depth -= 1
    return record
  }

  private array(count: number): unknown[] {
    this.enter(count)
    const array: unknown[] = []
    for (let i = 0; i < count; i++) array.push(this.value())
    this.depth -= 1
    return array
  }

  private enter(values: number): void {
    if (values > this.bytes.length - this.at) throw new Error('it claims more values than it has')
    this.depth += 1
    if (this.depth > MAX_DEPTH) throw new Error('it is nested too deep')
  }

  /** A reference, a special, or undefined. */
  private ours(): unknown {
    const start = this.at - 1
    const type = this.byte()
    this.byte()
    if (type === 0) return undefined
    if (type === REFERENCE) return this.reference()
    if (type !== SPECIAL) return this.leaf(type, start)
    const { bare } = this
    this.bare = false
    const content = this.content()
    this.bare = bare
    const value = fromSpecial(content)
    if (value instanceof Node) this.loose += 1
    else if (value instanceof Graph) {
      this.graph = value
      this.loose = 0
    }
    return value
  }

  /** The kind of a special and what follows it: an array as MessagePack has it, not one that is a special itself. */
  private content(): unknown[] {
    const head = this.byte()
    if (head >= 0x90 && head < 0xa0) return this.array(head & 0x0f)
    if (head === 0xdc) return this.array(this.uint(2))
    if (head === 0xdd) return this.array(this.uint(4))
    throw new Error('a special without a kind')
  }

  private reference(): unknown {
    if (this.byte() !== 0x92) throw new Error('a reference that is none')
    const oid = this.value()
    if (typeof oid !== 'number') throw new Error('a reference to no number')
    const reference = new Reference(oid, this.name())
    return this.bare && this.depth === 1 ? reference : this.resolve(reference)
  }

  /** A text that is likely to come often. */
  private name(): string {
    const head = this.byte()
    if (head < 0xa0 || head >= 0xc0) {
      this.at -= 1
      const name = this.value()
      if (typeof name !== 'string') throw new Error('a name that is no text')
      return name
    }
    const start = this.take(head & 0x1f)
    return nameIn(this.bytes, start, this.at)
  }

  private text(length: number): string {
    const start = this.take(length)
    const { bytes } = this
    if (length <= 6) {
      let or = 0
      for (let i = start; i < this.at; i++) or |= bytes[i]!
      if (or < 0x80) {
        switch (length) {
          case 0:
            return ''
          case 1:
            return String.fromCharCode(bytes[start]!)
          case 2:
            return String.fromCharCode(bytes[start]!, bytes[start + 1]!)
          case 3:
            return String.fromCharCode(bytes[start]!, bytes[start + 1]!, bytes[start + 2]!)
          case 4:
            return String.fromCharCode(bytes[start]!, bytes[start + 1]!, bytes[start + 2]!, bytes[start + 3]!)
        }
      }
    }
    return bytes.toString('utf8', start, this.at)
  }

  private binary(length: number): Buffer {
    const start = this.take(length)
    return Buffer.from(this.bytes.subarray(start, this.at))
  }

  private extension(head: number): unknown {
    const start = this.at - 1
    let length: number
    if (head === 0xc7) length = this.byte()
    else if (head === 0xc8) length = this.uint(2)
    else if (head === 0xc9) length = this.uint(4)
    else if (head >= 0xd5 && head <= 0xd8) length = 2 << (head - 0xd5)
    else throw new Error(`byte ${head}`)
    const type = this.byte()
    this.take(length)
    return this.leaf(type, start)
  }

  /** A rarer value, which began at `start`. */
  private leaf(type: number, start: number): unknown {
    if (!LEAF_TYPES.includes(type)) throw new Error(`extension type ${type}`)
    return unpackLeaf(this.bytes.subarray(start, this.at))
  }

  private byte(): number {
    if (this.at >= this.bytes.length) throw new Error('it ends too early')
    return this.bytes[this.at++]!
  }

  private uint(size: 2 | 4): number {
    const start = this.take(size)
    return size === 2 ? this.bytes.readUInt16BE(start) : this.bytes.readUInt32BE(start)
  }

  /** Passes over that many bytes. @returns where they begin */
  private take(count: number): number {
    const start = this.at
    this.at += count
    if (this.at > this.bytes.length) throw new Error('it ends too early')
    return start
  }
}

/** Deeper than what can be written is no state. A special and the pairs in it count twice. */
const MAX_DEPTH = 1000
