/** The shapes of what is said on the control socket (see `control-socket.ts`, which loads this when something is said). */
import { z } from 'zod'
import { CONTROL_COMMANDS } from './control-socket.ts'

export const Request = z.strictObject({ command: z.enum(CONTROL_COMMANDS) })
export const Response = z.union([
  z.object({ ok: z.literal(true), result: z.unknown() }),
  z.object({ ok: z.literal(false), code: z.string(), message: z.string() }),
])
export type Response = z.infer<typeof Response>
