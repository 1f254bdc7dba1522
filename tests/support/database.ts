/** Databases for tests: in memory, or in a directory of the test's own. */
import { MemoryLevel } from 'memory-level'
import {
  BTree,
  type Database,
  type Level,
  type OpenOptions,
  openDatabase,
  Persistent,
  registerClass,
} from '../../lib/index.ts'

/** A root with some of everything. */
export class Root extends Persistent {
  n = 0
  text = ''
  list: unknown[] = []
  record: Record<string, unknown> = {}
  map = new Map<unknown, unknown>()
  set = new Set<unknown>()
  any: unknown = undefined
  tree = new BTree()
}

export class Item extends Persistent {
  label: string
  others: Item[] = []

  constructor(label = '') {
    super()
    this.label = label
  }
}

registerClass('Root', Root)
registerClass('Item', Item)

export const newLevel = (): Level => new MemoryLevel<Buffer, Buffer>({ keyEncoding: 'buffer', valueEncoding: 'buffer' })

export function openTestDatabase(
  location: string | Level = newLevel(),
  options: Partial<OpenOptions<Root>> = {},
): Promise<Database<Root>> {
  return openDatabase(location, { root: () => new Root(), ...options })
}

/** The code of the error that `run` throws or rejects with. */
export async function codeOf(run: () => unknown): Promise<string | undefined> {
  try {
    await run()
  } catch (error) {
    return (error as { code?: string }).code ?? String(error)
  }
  return undefined
}
