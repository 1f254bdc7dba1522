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
