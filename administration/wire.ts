/**
 * What is said on the socket beside a database: one JSON object per line (UTF-8), one command per connection.
 *
 *     → {"objtree":1,"command":"ls","args":{…},"user":"ann","note":"objtree ls /"}
 *     ← {"accepted":true}                               from here on the command may have done something
 *     ← {"progress":{"unit":"records","done":10}}       any number of these,
 *     ← {"part":…}, {"bytes":"<base64>"}                and of these
 *     ← {"result":…}                                    done
 *       {"error":{"code":"NOT_FOUND","message":"…"}}    failed: nothing was changed
 *       {"error":{…,"usage":true}}                      the command line is wrong
 *       {"error":{…},"again":true}                      not carried out, because the database is being closed; ask whoever opens it next
 *
 * The command `storage` is none: it begins a conversation of its own (remote/protocol.ts).
 *
 * Who closes the connection wants no more: a transaction that is not committed yet is aborted. Only processes of the user who owns the
 * socket can connect to it. The first number is the version of all this.
 */
import { z } from 'zod'

export const VERSION = 1

export const Request = z.strictObject({
  objtree: z.literal(VERSION, {
    error: `expected a conversation of version ${VERSION}; objtree and the application use different versions of this package`,
  }),
  command: z.string().max(100),
  args: z.record(z.string(), z.unknown()),
  user: z.string().max(256),
  note: z.string().max(10_000),
})
export type Request = z.infer<typeof Request>

const Failure = z.object({ code: z.string().optional(), message: z.string(), usage: z.boolean().optional() })

export const Reply = z.union([
  z.object({ accepted: z.literal(true) }),
  z.object({
    progress: z.object({
      unit: z.string(),
      done: z.number(),
      total: z.number().optional(),
      about: z.literal(true).optional(),
    }),
  }),
  z.object({ bytes: z.string() }),
  z.object({ error: Failure, again: z.boolean().optional() }),
  z.object({ part: z.unknown().refine(part => part !== undefined) }),
  z.object({ result: z.unknown().refine(result => result !== undefined) }),
])
export type Reply = z.infer<typeof Reply>

/** Bytes that a request may have. Contents of files are named by their paths. */
export const MAX_REQUEST = 64 * 1024 * 1024

/** A part that was emitted, as a reply. */
export function partReply(part: unknown): Reply {
  return part instanceof Uint8Array ? { bytes: Buffer.from(part).toString('base64') } : { part: part ?? null }
}

/** A line as data; undefined if it is no JSON. */
export function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}
