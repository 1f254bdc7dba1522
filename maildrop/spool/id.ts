/**
 * Mail ids: the names of messages in the spool.
 *
 * `<milliseconds, base 36>-<counter, base 36>-<random, of the process>`, for example
 * `0mhx2k4f1-000001-9f86d081884c7d659a2f`. Ids sort by time, also within a millisecond and over a clock that is set
 * back; they are unique across threads, processes and machines.
 */
import { randomBytes } from 'node:crypto'
import { MaildropError } from '../errors.ts'

const USABLE = /^[a-z0-9][a-z0-9.-]{0,127}$/
/** Endings that mean something in the spool. */
const RESERVED = /\.(?:lck|json|sent\d+)$/

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

/** True if the text can name a message in the spool. */
export function isMailId(text: string): boolean {
  return USABLE.test(text) && !RESERVED.test(text) && text !== 'failed' && text !== 'hold'
}

/** When an id was made, in milliseconds since 1970; 0 for one that was not made by newMailId. */
export function mailIdTime(id: string): number {
  const [time = ''] = /^[0-9a-z]{9}(?=-)/.exec(id) ?? []
  return time === '' ? 0 : Number.parseInt(time, 36)
}

/**
 * Checks that an id can name a file in the spool: 1 to 128 characters `a-z 0-9 . -`, the first a letter or digit, and none
 * of the names that mean something else there.
 * @throws {MaildropError} INVALID_MAIL_ID
 */
export function checkMailId(id: string): void {
  if (isMailId(id)) return
  throw new MaildropError(
    'INVALID_MAIL_ID',
    `mail id ${JSON.stringify(id)}: expected 1 to 128 of a-z, 0-9, '.' and '-', beginning with a letter or digit, not ending in .lck, .json or .sent1; use newMailId()`,
  )
}
