/** What a server's refusal of the login has to come to, whichever server it is. */
import type { Test } from 'tap'
import type { TestMaildrop } from './maildrop.ts'
import { waitFor } from './waiting.ts'

/**
 * A wrong password loses nothing and costs no attempt; with the right one the mail flows.
 * @param drop configured with a wrong password
 * @param password the right one
 * @param arrived how many mails the server has
 */
export async function outlastWrongPassword(t: Test, drop: TestMaildrop, password: string, arrived: () => number) {
  const daemon = await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the alarm', () => drop.lines('server-down').length > 0)
  t.match(drop.lines('server-down')[0], /stage=login code=535 /)
  t.match(await drop.queue(), [{ status: 'waiting', attempts: 0 }])
  daemon.process.kill('SIGTERM')
  await daemon.ended
  await drop.daemon([], { MAILDROP_PASSWORD: password })
  await drop.drained()
  await waitFor('the mail', () => arrived() === 1)
}
