/**
 * `maildropctl`, `start_maildrop` and `stop_maildrop`: the command lines.
 *
 * Exit codes: 0 done, 1 failed (also: start when it runs already, status when it does not, drain when something is left),
 * 2 wrong usage.
 */
import type { Argv } from 'yargs'
import { CONFIG_KEY_NAMES } from '../keys.ts'
import { parsed, versionFor } from './command-line.ts'
import { found, loadToDeliver } from './configured.ts'
import { type Common, FLAGS } from './options.ts'
import { run, usageError } from './output.ts'
import { COMMANDS, type Command, NAME } from './table.ts'
import { yargs } from './yargs.ts'

/** @param args what follows the name of the program */
export async function maildropctl(args: readonly string[]): Promise<void> {
  const parser = base(NAME, args).usage('$0 COMMAND\n\nControls the daemon that delivers the mail of a spool.')
  for (const [name, command] of Object.entries(COMMANDS))
    parser.command(
      command.words === undefined ? name : `${name} ${command.words}`,
      command.summary,
      each => declared(each, command),
      options => run(NAME, () => command.run(options)),
    )
  parser
    .demandCommand(1, 1, 'a command is missing', 'one command is expected')
    .example('$0 start', 'start with the configuration found')
    .example('$0 --config /etc/maildrop queue', 'list what is waiting, and why')
    .example('$0 queue --state deferred --older 1h', 'list what has been deferred for long')
    .example('$0 retry --to "*@example.org"', 'try again at once what goes there')
    .example('$0 delete --state failed --dry-run', 'see what would be deleted')
    .example('$0 log --follow', 'see what is happening')
    .example('SMTP_HOST=mail.example.org $0 configtest', 'try another server')
    .epilogue(KEYS)
  await parsed(NAME, args, parser, FLAGS)
}

function declared(parser: Argv<Common>, { declare, examples }: Command): Argv<Common> {
  for (const [line, what] of examples) parser.example(`$0 ${line}`, what)
  return declare === undefined ? parser : declare(parser)
}

export async function startMaildrop(args: readonly string[]): Promise<void> {
  const name = 'start_maildrop'
  const parser = base(name, args)
    .usage('$0\n\nStarts the daemon that delivers the mail of a spool, and returns when it is ready.')
    .demandCommand(0, 0, '', 'no arguments are expected')
    .example('$0', 'start, detached')
    .example('DEBUG=1 $0', 'stay in the foreground and print the log')
    .epilogue(KEYS)
  const argv = await parsed(name, args, parser, FLAGS)
  if (argv !== undefined)
    await run(name, async () => (await import('./start-stop.ts')).start(loadToDeliver(name, argv.config)))
}

export async function stopMaildrop(args: readonly string[]): Promise<void> {
  const name = 'stop_maildrop'
  const parser = base(name, args)
    .usage('$0\n\nStops the daemon, and returns when it is gone.')
    .demandCommand(0, 0, '', 'no arguments are expected')
    .example('$0', 'stop the daemon of the configuration found')
  const argv = await parsed(name, args, parser, FLAGS)
  if (argv !== undefined)
    await run(name, async () => (await import('./start-stop.ts')).stop(await found(name, argv.config)))
}

/** The end of the help texts. */
const KEYS = `Configuration keys, in the file or in the environment (docs/maildrop.md describes them):
${inLines(CONFIG_KEY_NAMES)}`

function inLines(names: readonly string[]): string {
  const lines = ['']
  for (const name of names) {
    const line = lines.at(-1) ?? ''
    if (line.length + name.length > 76) lines.push(`  ${name}`)
    else lines[lines.length - 1] = line === '' ? `  ${name}` : `${line} ${name}`
  }
  return lines.join('\n')
}

/** Of an option that is given twice, the last one counts. */
function lastOfEach(argv: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(argv)) {
    if (!['_', '--', 'ids'].includes(key) && Array.isArray(value)) argv[key] = value.at(-1)
  }
}

const plainly = (problem: string): string =>
  problem.startsWith('Not enough non-option arguments') ? 'an id is missing' : problem

function base(name: string, args: readonly string[]): Argv<Common> {
  return (
    yargs([...args])
      .scriptName(name)
      .option('config', { type: 'string', requiresArg: true, describe: 'configuration file' })
      .parserConfiguration({ 'dot-notation': false })
      .middleware(lastOfEach, true)
      .strict()
      // Its own way of breaking lines breaks words.
      .wrap(null)
      .version('version', 'show the version', versionFor(args))
      .help('help', 'show help')
      .locale('en')
      .fail((message, error) => usageError(name, plainly(message || error.message)))
  )
}
