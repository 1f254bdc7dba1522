/**
 * Mail ids: the names of messages in the spool.
 *
 * `<milliseconds, base 36>-<counter, base 36>-<random, of the process>`, for example
 * `0mhx2k4f1-000001-9f86d081884c7d659a2f`. Ids sort by time, also within a millisecond and over a clock that is set
 * back; they are unique across threads, processes and machines.
 */
import { randomBytes } from 'node:crypto'
import { MaildropError } from '../errors.ts'

const GENERATED = /^[0-9a-z]{9}-[0-9a-z]{6}-[0-9a-f]{20}$/
const USABLE = /^[a-z0-9][a-z0-9.-]{0,127}$/

/** A new id, greater than every earlier one of this process. */
export const newMailId: () => string = mailIds()

function mailIds(): () => string {
  const origin = randomBytes(10).toString('hex')
  let time = 0
  let count = 0
  return () => {
    time = Math.max(time, Date.now())
    count += 1
    return `${time.toString(36).padStart(9, '0')}-${count.toString(36).padStart(6, '0')}-${origin}`
  }
}

/** True for ids made by `newMailId`, here or anywhere else. */
export function isGeneratedId(name: string): boolean {
  return GENERATED.test(name)
}

/**
 * Checks that an id can name a file in the spool: 1 to 128 characters `a-z 0-9 . -`, the first a letter or digit.
 * @throws {MaildropError} INVALID_MAIL_ID
 */
export function checkMailId(id: string): void {
  if (USABLE.test(id) && !id.endsWith('.lck')) return
  throw new MaildropError(
    'INVALID_MAIL_ID',
    `mail id ${JSON.stringify(id)}: expected 1 to 128 of a-z, 0-9, '.' and '-', beginning with a letter or digit, not ending in .lck; use newMailId()`,
  )
}
