/** The shape of a state file (see `state.ts`, which loads this when there is one to read). */
import { z } from 'zod'

export const RecipientState = z.object({
  address: z.string(),
  status: z.enum(['waiting', 'sent', 'failed']),
  /** The last reply, or what else happened, for people. */
  reply: z.string().optional(),
  /** The same for programs: how far the dialogue had come, reply code, enhanced status code (RFC 3463), and text. */
  stage: z.string().optional(),
  code: z.number().int().optional(),
  enhanced: z.string().optional(),
  text: z.string().optional(),
  /** When that was. */
  at: z.string().optional(),
  /** True if it failed only because the message had become too old. */
  expired: z.boolean().optional(),
  /** The id of the notice that tells the sender that it failed. */
  notice: z.string().optional(),
})

export const MailState = z.object({
  version: z.literal(1),
  id: z.string(),
  /** The name of the file as it was dropped, where it was another one. */
  name: z.string().optional(),
  from: z.string(),
  /** When the file was written. */
  arrived: z.string(),
  /** Attempts made so far. */
  attempts: z.number().int().nonnegative(),
  /** Transactions so far, which the journal counts; more than attempts where one had many recipients. */
  transactions: z.number().int().nonnegative().optional(),
  recipients: z.array(RecipientState),
  /** Why the file as a whole was given up. */
  problem: z.string().optional(),
  /** Why the daemon put the message on hold. */
  held: z.string().optional(),
  /** True if the sender has still to be told of a failure. */
  noticeOwed: z.boolean().optional(),
})

export type RecipientState = z.infer<typeof RecipientState>
export type MailState = z.infer<typeof MailState>
