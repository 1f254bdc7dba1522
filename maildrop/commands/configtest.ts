/**
 * `maildropctl configtest`: looks at the directories, connects to every server, negotiates TLS and logs in as configured, sends
 * nothing, and explains what is wrong and what to change.
 */
import { configFileOf, destinationsOf, type MaildropConfig } from '../config.ts'
import { MaildropError, messageOf } from '../errors.ts'
import { bad, type Check, good } from './check.ts'
import { checkPlaces, checkPort } from './check-places.ts'
import { checkServer, checkSigning } from './check-server.ts'
import { fail, printable, say, sayJson } from './output.ts'

/**
 * Prints what it finds; the exit code is 1 if anything is wrong.
 * @throws {MaildropError} CONFIG_UNREADABLE, CONFIG_INVALID
 */
export async function configtest(load: () => MaildropConfig, options: Options): Promise<void> {
  const config = readable(load, options)
  const checks: Check[] = [
    good('config', config.file, 'no errors'),
    ...checkPlaces(config),
    ...(await checkPort(config)),
  ]
  for (const destination of destinationsOf(config)) checks.push(await checkServer(destination))
  const { dkim } = config.smtp
  if (dkim !== undefined) checks.push(...checkSigning(dkim))
  const wrong = checks.filter(({ ok }) => !ok)
  if (options.json) sayJson({ ok: wrong.length === 0, checks })
  else for (const check of checks) describe(check)
  for (const { where, text, remedy } of wrong) fail('maildropctl', `${where}: ${text}; ${remedy}`)
}

interface Options {
  readonly config: string | undefined
  readonly json: boolean
}

function readable(load: () => MaildropConfig, { config, json }: Options): MaildropConfig {
  try {
    return load()
  } catch (error) {
    const problems = error instanceof MaildropError ? error.problems : []
    const whole = { where: configFileOf({ file: config }), text: messageOf(error) }
    const checks = (problems.length > 0 ? problems : [whole]).map(({ where, text }) =>
      bad('config', where, text, 'correct it, and test it again'),
    )
    if (json) sayJson({ ok: false, checks })
    throw error
  }
}

const INDENT = 8

function describe({ ok, what, where, text, remedy }: Check): void {
  if (!ok) return
  say(`${what.padEnd(INDENT)}${where}${what === 'config' ? ':' : ''} ${printable(text)}`)
  if (remedy !== undefined) say(`${' '.repeat(INDENT)}${printable(remedy)}`)
}
