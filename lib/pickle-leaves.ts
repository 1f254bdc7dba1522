/** The rarer values of states (bigints, dates, typed arrays), to bytes and back: by msgpackr, which is loaded at the first one. */
import { createRequire } from 'node:module'
import type * as Msgpackr from 'msgpackr'
import type { Packr, Unpackr } from 'msgpackr'

/** The types of msgpackr's extensions for them. */
export const LEAF_TYPES = [0x42, 0x74, 0xff]

const OPTIONS = { useRecords: false, moreTypes: true, int64AsType: 'bigint' } as const
const library = () => createRequire(import.meta.url)('msgpackr') as typeof Msgpackr
let packr: Packr | undefined
let unpackr: Unpackr | undefined

export function packLeaf(value: unknown): Buffer {
  packr ??= new (library().Packr)({ ...OPTIONS, useBigIntExtension: true })
  return packr.pack(value)
}

/** @throws what is wrong with the bytes */
export function unpackLeaf(bytes: Uint8Array): unknown {
  unpackr ??= new (library().Unpackr)({ ...OPTIONS, copyBuffers: true })
  return unpackr.unpack(bytes)
}
