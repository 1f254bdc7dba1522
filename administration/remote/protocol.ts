/**
 * What is said when a process works in a database that another one has open: the contract of lib/storage/storage.ts, over the socket
 * beside the database. It begins like a command (administration/wire.ts), which is never answered with a result:
 *
 *     → {"objtree":1,"command":"storage","args":{},"user":"ann","note":""}
 *     ← {"accepted":true}
 *     → {"id":1,"op":"snapshot"}                                 any number of these; they are begun in this order
 *     ← {"id":1,"value":{"snapshot":1,"tid":1795740109259000}}   or {"id":1,"error":{"code":"CONFLICT","message":"…"}}
 *     ← {"committed":{"tid":…,"bytes":"…"}}                      each transaction that becomes durable, before anything shows it
 *
 * Bytes are base64. Transactions are said as they lie in the database (transactions.ts). A record is what lies in the database, with its checksum, and is checked by who reads it. Nothing of it is code. What a
 * session has opened goes with its connection.
 */
import { z } from 'zod'

const number = z.number().int().nonnegative()
const bytes = z.string().transform(text => Buffer.from(text, 'base64'))
const record = z.strictObject({ className: z.string().max(255), version: number.max(65_535), state: bytes })
const rows = z.array(z.tuple([z.string().max(10_000), bytes.nullable()]))

export const Operation = z.discriminatedUnion('op', [
  z.strictObject({ op: z.literal('state') }),
  z.strictObject({ op: z.literal('snapshot') }),
  z.strictObject({ op: z.literal('release'), snapshot: number }),
  z.strictObject({ op: z.literal('load'), snapshot: number, oid: number }),
  z.strictObject({ op: z.literal('revisions'), snapshot: number, oid: number, skip: number, most: number }),
  z.strictObject({ op: z.literal('oids'), count: number.max(1000) }),
  z.strictObject({
    op: z.literal('commit'),
    about: z.strictObject({ tid: number, bytes: z.string() }),
    changes: z.array(
      z.strictObject({ oid: number, serial: number, record, references: z.array(number), within: number.optional() }),
    ),
    reads: z.array(z.tuple([number, number, z.array(z.string()).nullable()])),
    outbox: z.array(z.tuple([z.string().max(10_000), bytes])),
  }),
  z.strictObject({ op: z.literal('transaction'), tid: number }),
  z.strictObject({
    op: z.literal('transactions'),
    after: number.optional(),
    upTo: number.optional(),
    reverse: z.boolean(),
    most: number,
  }),
  z.strictObject({ op: z.literal('outbox'), prefix: z.string() }),
  z.strictObject({ op: z.literal('write'), rows, sync: z.boolean() }),
  z.strictObject({ op: z.literal('settled') }),
])
export type Operation = z.infer<typeof Operation>

/** As it is written: bytes are text still. */
export type Said = z.input<typeof Operation>

export const Numbered = z.looseObject({ id: number })
