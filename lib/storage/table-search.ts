/**
 * Finding the blocks of a table of which the list is damaged, or which ends too early (table-file.ts has the format). They lie one after the other, so each ends
 * where a checksum agrees with everything since the one before. Each byte is looked at once, up to the first block that is damaged itself.
 */
import { readFileSync } from 'node:fs'
import { sealedEnd } from './crc32c.ts'
import type { Table } from './manifest.ts'
import { KEY_TRAILER, keysOf } from './table-block.ts'
import { type Block, plain } from './table-file.ts'

const CHECKSUM = 4

/** @param listed what the manifest says of the table; one that has other keys is another table */
export function blocksIn(path: string, listed: Table | undefined): readonly Block[] {
  const bytes = readFileSync(path)
  const found: Block[] = []
  for (let offset = 0; ; ) {
    const end = sealedEnd(bytes, offset)
    if (end === undefined) return found
    try {
      const { first, last } = keysOf(plain(bytes.subarray(offset, end)), found.at(-1)?.key)
      if (listed !== undefined && !(isWithin(first, listed) && isWithin(last, listed))) return found
      found.push({ offset, size: end - 1 - offset, key: last })
    } catch {
      // the filters come behind the last one
      return found
    }
    offset = end + CHECKSUM
  }
}

function isWithin(key: Buffer, { first, last }: Table): boolean {
  const own = key.subarray(0, -KEY_TRAILER)
  return Buffer.compare(first, own) <= 0 && Buffer.compare(own, last) <= 0
}
