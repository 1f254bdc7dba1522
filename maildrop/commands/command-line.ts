/** Reading a command line by yargs, and what it does not mind but people would. */
import { createRequire } from 'node:module'
import type { Argv } from 'yargs'
import { run, say, usageError } from './output.ts'

/**
 * Reads a command line, and does what it says. Help and version are output like any other: where it cannot be written, that fails.
 * @param flags options without a value; yargs takes any, and for no
 * @returns undefined if help or the version was asked for
 */
export async function parsed<T>(name: string, args: readonly string[], parser: Argv<T>, flags: readonly string[]) {
  const wrong = valued(args, flags)
  if (wrong !== undefined) usageError(name, `--${wrong} takes no value`)
  const empty = args.findIndex(arg => /^(--[\w-]+=)?\s*$/.test(arg))
  // As a pattern it would match everything, as a file mean another one: mostly it is a variable of a shell that is not set.
  if (empty >= 0)
    usageError(name, `argument ${empty + 1} (${JSON.stringify(args[empty])}) is empty; is a variable not set?`)
  const end = args.indexOf('--')
  const behind = end >= 0 ? args[end + 1] : undefined
  if (behind !== undefined) usageError(name, `nothing is taken after --, found ${JSON.stringify(behind)}`)
  let shown = ''
  const argv = await parser.parseAsync([...args], {}, (_error, _argv, output) => {
    shown = output
  })
  if (shown === '') return argv
  await run(name, async () => say(shown))
  return undefined
}

/** The flag that is given a value, if one is. */
function valued(args: readonly string[], flags: readonly string[]): string | undefined {
  const options = args.includes('--') ? args.slice(0, args.indexOf('--')) : args
  return flags.find(flag => options.some(arg => arg.startsWith(`--${flag}=`) && !/=(true|false)$/.test(arg)))
}

/** Read only where it is asked for. */
export function versionFor(args: readonly string[]): string {
  if (!args.includes('--version')) return ''
  return (createRequire(import.meta.url)('maildrophost/package.json') as { version: string }).version
}
