/**
 * `maildropctl configtest`: looks at the directories, connects to every server, negotiates TLS and logs in as configured, sends
 * nothing, and explains what is wrong and what to change.
 */
import { destinationsOf, type MaildropConfig } from '../config.ts'
import { type Check, good } from './check.ts'
import { checkPlaces } from './check-places.ts'
import { checkServer, checkSigning } from './check-server.ts'
import { fail, printable, say } from './output.ts'

/** Prints what it finds; the exit code is 1 if anything is wrong. */
export async function configtest(config: MaildropConfig, options: { readonly json: boolean }): Promise<void> {
  const checks: Check[] = [good('config', config.file, 'no errors'), ...checkPlaces(config)]
  for (const destination of destinationsOf(config)) checks.push(await checkServer(destination))
  const { dkim } = config.smtp
  if (dkim !== undefined) checks.push(...checkSigning(dkim))
  const wrong = checks.filter(({ ok }) => !ok)
  if (options.json) say(JSON.stringify({ ok: wrong.length === 0, checks }, undefined, 2))
  else for (const check of checks) describe(check)
  for (const { where, text, remedy } of wrong) fail('maildropctl', `${where}: ${text}; ${remedy}`)
}

const INDENT = 8

function describe({ ok, what, where, text, remedy }: Check): void {
  if (!ok) return
  say(`${what.padEnd(INDENT)}${where}${what === 'config' ? ':' : ''} ${printable(text)}`)
  if (remedy !== undefined) say(`${' '.repeat(INDENT)}${printable(remedy)}`)
}
