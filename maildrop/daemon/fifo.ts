/** First in, first out, in constant time: an array with a head that moves. */
export interface Fifo<T> {
  readonly size: number
  push(item: T): void
  shift(): T | undefined
}

/** Items taken out before their room is given back. */
const SLACK = 1000

export function openFifo<T>(): Fifo<T> {
  let items: T[] = []
  let head = 0
  const fifo = {
    size: 0,
    push(item: T): void {
      items.push(item)
      fifo.size += 1
    },
    shift(): T | undefined {
      if (head === items.length) return undefined
      const item = items[head++]
      fifo.size -= 1
      if (head === items.length) {
        items = []
        head = 0
      } else if (head > SLACK && head * 2 > items.length) {
        items = items.slice(head)
        head = 0
      }
      return item
    },
  }
  return fifo
}
