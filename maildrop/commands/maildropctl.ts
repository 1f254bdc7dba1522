/**
 * `maildropctl`, `start_maildrop` and `stop_maildrop`: the command lines.
 *
 * Exit codes: 0 done, 1 failed (also: start when it runs already, status when it does not, drain when something is left),
 * 2 wrong usage.
 */
import type { Argv } from 'yargs'
import { loadConfig, type MaildropConfig } from '../config.ts'
import { CONFIG_KEY_NAMES } from '../keys.ts'
import type { Operation } from '../spool/operations.ts'
import { withChoice } from './choice.ts'
import { parsed, versionFor } from './command-line.ts'
import { type Exampled, withExamples } from './examples.ts'
import type { Facts } from './facts.ts'
import { type LogOptions, MAX_LOG_BYTES } from './log.ts'
import type { OperateOptions } from './operate.ts'
import { run, usageError, warn } from './output.ts'
import type { QueueOptions } from './queue.ts'
import type { ShowOptions } from './show.ts'
import { yargs } from './yargs.ts'

type Work<Options, Known = MaildropConfig> = (config: Known, options: Options) => Promise<void>

// what a command needs is loaded when it is asked for
const startStop = () => import('./start-stop.ts')
const control = () => import('./control.ts')

/** @param args what follows the name of the program */
export async function maildropctl(args: readonly string[]): Promise<void> {
  const name = 'maildropctl'
  const act =
    <Options extends Common>(work: () => Promise<Work<Options>>) =>
    (options: Options): Promise<void> =>
      run(name, async () => (await work())(load(name, options.config), options))
  // also with a configuration that cannot be used, as long as a daemon runs with it
  const actAnyway =
    <Options extends Common>(work: () => Promise<Work<Options, MaildropConfig | Facts>>) =>
    (options: Options): Promise<void> =>
      run(name, async () => (await work())(await known(name, options.config), options))
  const operate = (what: Operation) =>
    actAnyway<Common & OperateOptions>(async () => (await import('./operate.ts')).operation(name, what))
  const parser = base(name, args)
    .usage('$0 COMMAND\n\nControls the daemon that delivers the mail of a spool.')
    .command(
      'start',
      'start the daemon',
      plain('start'),
      act(async () => (await startStop()).start),
    )
    .command(
      'stop',
      'stop the daemon; it finishes what it has begun',
      plain('stop'),
      actAnyway(async () => (await startStop()).stop),
    )
    .command(
      'restart',
      'stop the daemon, if it runs, and start it',
      plain('restart'),
      act(async () => (await startStop()).restart),
    )
    .command(
      'reload',
      'make the daemon read its configuration again',
      plain('reload'),
      act(async () => (await control()).reload),
    )
    .command(
      'status',
      'say whether the daemon runs, and how much mail there is',
      jsonOnly('status'),
      actAnyway<WithJson>(async () => (await import('./status.ts')).status),
    )
    .command(
      'configtest',
      'check directories, and log in to the server; sends nothing',
      jsonOnly('configtest'),
      (options: WithJson) =>
        run(name, async () => (await import('./configtest.ts')).configtest(() => load(name, options.config), options)),
    )
    .command(
      'queue',
      'list the messages in the spool',
      queueOptions,
      actAnyway<Common & QueueOptions>(async () => (await import('./queue.ts')).queue),
    )
    .command(
      'show <id>',
      'print what is known about a message',
      showOptions,
      actAnyway<Common & ShowOptions>(async () => (await import('./show.ts')).show),
    )
    .command('retry [ids..]', 'make messages due now, also failed ones', operateOptions('retry'), operate('retry'))
    .command('hold [ids..]', 'keep messages back', operateOptions('hold'), operate('hold'))
    .command('release [ids..]', 'let messages go that are held', operateOptions('release'), operate('release'))
    .command('delete [ids..]', 'delete messages for good', deleteOptions, operate('delete'))
    .command(
      'flush',
      'make deferred messages due now',
      plain('flush'),
      actAnyway(async () => (await control()).flush),
    )
    .command(
      'drain',
      'deliver what can be delivered now, and return; 1 if anything is left',
      plain('drain'),
      act(async () => (await control()).drain),
    )
    .command(
      'log',
      'print the last part of the log',
      logOptions,
      actAnyway<Common & LogOptions>(async () => (await import('./log.ts')).log),
    )
    .demandCommand(1, 1, 'a command is missing', 'one command is expected')
    .example('$0 start', 'start with the configuration found')
    .example('$0 --config /etc/maildrop queue', 'list what is waiting, and why')
    .example('$0 queue --state deferred --older 1h', 'list what has been deferred for long')
    .example('$0 retry --to "*@example.org"', 'try again at once what goes there')
    .example('$0 delete --state failed --dry-run', 'see what would be deleted')
    .example('$0 log --follow', 'see what is happening')
    .example('SMTP_HOST=mail.example.org $0 configtest', 'try another server')
    .epilogue(KEYS)
  await parsed(name, args, parser, FLAGS)
}

/** Of any command. */
const FLAGS = ['json', 'dry-run', 'yes', 'body', 'raw', 'follow', 'help', 'version']

export async function startMaildrop(args: readonly string[]): Promise<void> {
  const name = 'start_maildrop'
  const parser = base(name, args)
    .usage('$0\n\nStarts the daemon that delivers the mail of a spool, and returns when it is ready.')
    .demandCommand(0, 0, '', 'no arguments are expected')
    .example('$0', 'start, detached')
    .example('DEBUG=1 $0', 'stay in the foreground and print the log')
    .epilogue(KEYS)
  const argv = await parsed(name, args, parser, FLAGS)
  if (argv !== undefined) await run(name, async () => (await startStop()).start(load(name, argv.config)))
}

export async function stopMaildrop(args: readonly string[]): Promise<void> {
  const name = 'stop_maildrop'
  const parser = base(name, args)
    .usage('$0\n\nStops the daemon, and returns when it is gone.')
    .demandCommand(0, 0, '', 'no arguments are expected')
    .example('$0', 'stop the daemon of the configuration found')
  const argv = await parsed(name, args, parser, FLAGS)
  if (argv !== undefined) await run(name, async () => (await startStop()).stop(await known(name, argv.config)))
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

interface Common {
  readonly config: string | undefined
}

interface WithJson extends Common {
  readonly json: boolean
}

const plain = (name: Exampled) => (command: Argv<Common>) => withExamples(name, command)

const json = (command: Argv<Common>) =>
  command.option('json', { type: 'boolean', default: false, describe: 'print JSON' })

const jsonOnly = (name: Exampled) => (command: Argv<Common>) => json(withExamples(name, command))

const queueOptions = (command: Argv<Common>) =>
  withChoice(json(withExamples('queue', command)))
    .option('limit', { type: 'number', requiresArg: true, describe: 'list at most so many; 0 is no limit' })
    .check(({ limit }) => {
      if (limit === undefined || (Number.isInteger(limit) && limit >= 0)) return true
      throw new Error('--limit: expected a whole number')
    })

const showOptions = (command: Argv<Common>) =>
  json(withExamples('show', command))
    .positional('id', { type: 'string', demandOption: true, describe: 'id, or the beginning of it' })
    .option('body', { type: 'boolean', default: false, describe: 'print the body as well' })
    .option('raw', { type: 'boolean', default: false, describe: 'print the mail file as it is, and nothing else' })
    .check(({ body, raw, json }) => {
      if ([body, raw, json].filter(Boolean).length <= 1) return true
      throw new Error('--body, --raw and --json do not go together')
    })

const operateOptions = (name: Exampled) => (command: Argv<Common>) =>
  withChoice(json(withExamples(name, command)))
    .positional('ids', { type: 'string', array: true, default: [], describe: 'ids, or the beginnings of them' })
    .option('dry-run', { type: 'boolean', default: false, describe: 'only say what would be done' })

const deleteOptions = (command: Argv<Common>) =>
  operateOptions('delete')(command).option('yes', {
    alias: 'y',
    type: 'boolean',
    default: false,
    describe: 'do not ask',
  })

const logOptions = (command: Argv<Common>) =>
  withExamples('log', command)
    .option('bytes', { type: 'number', default: 16_384, requiresArg: true, describe: 'print at most so many bytes' })
    .option('follow', { alias: 'f', type: 'boolean', default: false, describe: 'go on with what is added' })
    .check(({ bytes }) => {
      if (Number.isInteger(bytes) && bytes >= 1 && bytes <= MAX_LOG_BYTES) return true
      throw new Error(`--bytes: expected a whole number from 1 to ${MAX_LOG_BYTES}`)
    })

/** Of an option that is given twice, the last one counts. */
function lastOfEach(argv: Record<string, unknown>): void {
  for (const [key, value] of Object.entries(argv)) {
    if (key !== '_' && key !== 'ids' && Array.isArray(value)) argv[key] = value.at(-1)
  }
}

function load(name: string, file: string | undefined): MaildropConfig {
  const config = loadConfig({ file })
  for (const text of config.warnings) warn(name, text)
  return config
}

async function known(name: string, file: string | undefined): Promise<MaildropConfig | Facts> {
  const { isBroken, loadOrAsk } = await import('./facts.ts')
  const found = await loadOrAsk({ file })
  const warnings = isBroken(found)
    ? [`${found.problem}; until that is corrected, the daemon goes on as it was, and cannot be started again`]
    : found.warnings
  for (const text of warnings) warn(name, text)
  return found
}

const plainly = (problem: string): string =>
  problem.startsWith('Not enough non-option arguments') ? 'an id is missing' : problem

function base(name: string, args: readonly string[]): Argv<Common> {
  return (
    yargs([...args])
      .scriptName(name)
      .option('config', { type: 'string', requiresArg: true, describe: 'configuration file' })
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
