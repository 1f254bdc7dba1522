/**
 * MAILDROP_ON_FAILURE: a command of the administrator's is told of every message that was given up, and of recipients that were
 * refused for good while others are still tried, as JSON on its standard input. A failure counts as told when the command has ended with 0.
 *
 * At least once: what has to be told is in the spool (`spool/untold.ts`) until then. The command runs beside delivery,
 * a few at a time, for a limited time, without the password in its environment; what goes wrong with it is logged and tried again
 * with the delays of mail, until the failure is as old as a message may become.
 */
import { type Command, runCommand } from '../command.ts'
import type { MaildropConfig } from '../config.ts'
import { delayAfter, RETRY_DELAYS } from '../delivery/backoff.ts'
import { messageOf } from '../errors.ts'
import type { MailState } from '../spool/state.ts'
import { forgetUntold, keepUntold, takeUntold, type Untold } from '../spool/untold.ts'
import type { Log } from './log.ts'

export interface FailureHook {
  /** Sees to it that from now on failures are kept for the hook, or no longer if there is none. */
  prepare(config: MaildropConfig): void
  /** Looks for failures to tell of, and begins to; waits for nothing. */
  tick(config: MaildropConfig): void
  /** Ends; commands that run get `grace` milliseconds. */
  stop(grace: number): Promise<void>
}

/** Commands at a time, and milliseconds that each gets. */
const AT_ONCE = 2
const TIME_LIMIT = 60_000

const LEFT =
  'nobody was told of these failures, and MAILDROP_ON_FAILURE is not set any more: set it, or remove .untold in the spool'

export function openFailureHook(log: Log): FailureHook {
  const running = new Set<Promise<void>>()
  /** Of failures whose telling failed: how often, and until when nothing is tried. */
  const failures = new Map<string, { readonly count: number; readonly until: number }>()
  const stopping = new AbortController()

  /** @returns what went wrong */
  const told = async (command: Command, state: MailState | undefined, spool: string): Promise<string | undefined> => {
    const isOver = state?.recipients.every(({ status }) => status !== 'waiting') ?? true
    const input = `${JSON.stringify({ event: isOver ? 'failed' : 'refused', spool, ...state })}\n`
    const { problem, complaint } = await runCommand(command, { input, limit: TIME_LIMIT, signal: stopping.signal })
    return problem && [`${command[0]} ${problem}`, complaint.split('\n').at(-1)].filter(Boolean).join(': ')
  }

  const tell = async (command: Command, untold: Untold, spool: string, maxAge: number) => {
    const { name } = untold
    let id = name
    let problem: string | undefined
    try {
      const state = await untold.read()
      id = state?.id ?? name
      problem = await told(command, state, spool)
    } catch (error) {
      problem = messageOf(error)
    }
    const count = (failures.get(name)?.count ?? 0) + 1
    if (problem === undefined || Date.now() - untold.since > maxAge * 1000) {
      failures.delete(name)
      untold.done()
    } else {
      failures.set(name, { count, until: performance.now() + delayAfter(RETRY_DELAYS, count) * 1000 })
      untold.giveBack()
    }
    if (problem === undefined) log.line('hook', { id })
    else log.line('hook-failed', { id, attempt: count, text: problem })
  }

  const rests = (name: string): boolean => performance.now() < (failures.get(name)?.until ?? 0)

  const begin = (spool: string, command: Command, maxAge: number): void => {
    for (const untold of takeUntold(spool, name => !rests(name), AT_ONCE - running.size)) {
      const work = tell(command, untold, spool, maxAge)
        .catch(error => log.line('hook-failed', { id: untold.name, text: messageOf(error) }))
        .finally(() => running.delete(work))
      running.add(work)
    }
  }

  let complained = ''
  return {
    prepare({ onFailure, spools }) {
      for (const spool of spools) {
        if (onFailure !== undefined) {
          keepUntold(spool)
          continue
        }
        const left = forgetUntold(spool)
        if (left > 0) log.line('warning', { spool, messages: left, text: LEFT })
      }
    },
    tick({ onFailure, spools, maxAge }) {
      if (onFailure === undefined || stopping.signal.aborted) return
      try {
        for (const spool of spools) {
          keepUntold(spool)
          if (running.size < AT_ONCE) begin(spool, onFailure, maxAge)
        }
        complained = ''
      } catch (error) {
        const text = messageOf(error)
        if (text !== complained) log.line('hook-failed', { text })
        complained = text
      }
    },
    async stop(grace) {
      const timer = setTimeout(() => stopping.abort(), grace)
      await Promise.all(running)
      clearTimeout(timer)
      stopping.abort()
    },
  }
}
