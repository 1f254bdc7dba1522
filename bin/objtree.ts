/**
 * `objtree`: the object tree from the command line.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage. Errors and warnings are one line each on standard error.
 * What a command is, is said in administration/command.ts; this reads the command line, has the command carried out, and prints.
 */
import { createRequire } from 'node:module'
import type Yargs from 'yargs'
import type { Argv } from 'yargs'
import type { Command, Listener, Typed } from '../administration/command.ts'
import { COMMANDS, type CommandName, isCommand, loadCommand } from '../administration/commands/index.ts'
import { Output } from '../administration/output.ts'
import { printable } from '../administration/printable.ts'
import { run, usageError } from '../maildrop/commands/output.ts'
import { applicationSettings, loadModules } from './application.ts'
import { confirmed } from './asking.ts'
import { noteOf } from './note.ts'
import { ProgressLine } from './progress.ts'
import { carryOut, databaseDirectory, userName } from './session.ts'
import { argumentsOf, COMMON, declare, optionOptions, usageOf, wrongOption } from './usage.ts'

const NAME = 'objtree'

// as one file, which takes two thirds of the time of its modules
const yargs = createRequire(import.meta.url)('yargs/yargs') as typeof Yargs

/** @param args what follows the name of the program */
export async function objtree(args: readonly string[]): Promise<void> {
  if (args[0]?.startsWith('--complete')) return (await import('./completion.ts')).completion(args)
  process.removeAllListeners('warning')
  process.on('warning', ({ message }) => process.stderr.write(`${NAME}: warning: ${oneLine(message)}\n`))
  const parser = yargs([...args])
    .scriptName(NAME)
    .usage('$0 COMMAND\n\nLooks at and changes the object tree.')
    .parserConfiguration({ 'greedy-arrays': false, 'dot-notation': false, 'parse-numbers': false })
  for (const [name, option] of Object.entries(COMMON)) parser.option(name, optionOptions(option))
  const word = firstWord(args)
  const asked = word !== undefined && isCommand(word) ? word : undefined
  const command = asked === undefined ? undefined : await loadCommand(asked)
  addCommands(parser, args, asked, command)
  await parser
    .example('$0 init', 'create a database in data/objects')
    .example('$0 add MaildropHost /mail/XYZ --parents', 'a mail host in it')
    .example('$0 tree', 'see what is there')
    .epilogue('Exit codes: 0 done, 1 failed, 2 wrong usage.  $0 COMMAND --help tells about a command.')
    .recommendCommands()
    .demandCommand(1, 1, 'a command is missing', 'one command is expected')
    .strict()
    .version('version', 'show the version', versionFor(args))
    .help('help', 'show help')
    .alias('help', 'h')
    .locale('en')
    .fail((message, error) => {
      const problem = message || error.message
      if (asked !== undefined && command !== undefined) refuse(asked, command, problem)
      usageError(NAME, word === undefined ? problem : unknownCommand(word, problem))
    })
    .parseAsync()
}

/** Only the command that is asked for is loaded; the others are names in the help. */
function addCommands(
  parser: Argv,
  args: readonly string[],
  asked: CommandName | undefined,
  command: Command | undefined,
): void {
  if (asked !== undefined && command !== undefined) {
    parser.command(
      usageOf(asked, command),
      COMMANDS[asked].summary,
      argv => declare(argv, command),
      typed => {
        const wrong = wrongOption(command, typed)
        return wrong === undefined
          ? run(NAME, () => said(perform(asked, command, typed, args)))
          : usageError(NAME, wrong, `${NAME} ${asked}`)
      },
    )
    return
  }
  for (const [name, { summary }] of Object.entries(COMMANDS)) parser.command(name, summary)
}

/** Messages quote files and data: an error is one line all the same, and nothing of it controls the terminal. */
async function said(work: Promise<void>): Promise<void> {
  try {
    await work
  } catch (cause) {
    throw new Error(oneLine(cause instanceof Error ? cause.message : String(cause)), { cause })
  }
}

const oneLine = (message: string): string => printable(message.trim().replace(/\s*\n\s*/g, ' '))

/** Wrong usage of a command, as yargs says it; where words are missing, with those that are expected. */
function refuse(asked: CommandName, command: Command, problem: string): never {
  const missing = /^Not enough non-option arguments/.test(problem)
  usageError(NAME, missing ? `expected: ${NAME} ${usageOf(asked, command)}` : problem, `${NAME} ${asked}`)
}

function unknownCommand(word: string, problem: string): string {
  const [, like] = /^Did you mean (.*)\?$/.exec(problem) ?? []
  if (like === undefined && !/^Unknown (argument|command)/.test(problem)) return problem
  return `there is no command '${printable(word)}'${like === undefined ? '' : `; did you mean ${like}?`}`
}

/** Read only where it is asked for. */
function versionFor(args: readonly string[]): string {
  if (!args.includes('--version')) return ''
  return (createRequire(import.meta.url)('maildrophost/package.json') as { version: string }).version
}

/** The first word that is no option. */
function firstWord(args: readonly string[]): string | undefined {
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!
    if (!word.startsWith('-')) return word
    const option = COMMON[word.replace(/^--/, '')]
    if (option !== undefined && option.type !== 'boolean') i += 1
  }
  return undefined
}

async function perform(name: CommandName, command: Command, typed: Typed, words: readonly string[]): Promise<void> {
  const out = new Output()
  const args = (await command.prepare?.(typed)) ?? argumentsOf(command, typed)
  const application = await applicationSettings((typed.require as string[] | undefined) ?? [])
  await loadModules(application.modules)
  const directory = databaseDirectory((typed.db as string | undefined) ?? process.env.OBJTREE_DB, application.db)
  const place = { directory, salvage: typed.salvage === true }
  const line = process.stderr.isTTY ? new ProgressLine() : undefined
  const interrupted = new AbortController()
  const interrupt = () => interrupted.abort(new Error('interrupted'))
  const unread = () => interrupted.abort(new Error('nobody reads the output any more'))
  const listener: Listener = {
    watched: line !== undefined,
    progress: state => line?.update(state),
    signal: interrupted.signal,
    async emit(part) {
      const { lineOf } = command
      const line = () => (lineOf === undefined || typed.json ? JSON.stringify(part) : lineOf(part as never))
      if (!(await out.pour(part instanceof Uint8Array ? part : `${line()}\n`))) unread()
    },
  }
  const call = async (more: object) => {
    // the first one ends the work in order, another one at once
    process.once('SIGINT', interrupt)
    process.stdout.once('error', unread)
    const invocation = { command: name, args: { ...args, ...more }, user: userName(), note: noteOf([NAME, ...words]) }
    try {
      return await carryOut(command, invocation, place, listener)
    } catch (error) {
      const { aborted, reason } = interrupted.signal
      // that is how it ends
      if (command.lasting && aborted) return null
      throw aborted ? reason : error
    } finally {
      await line?.end()
      process.removeListener('SIGINT', interrupt)
      process.stdout.removeListener('error', unread)
    }
  }
  const show = async (result: unknown, shown: object) => {
    if (command.failed?.(result)) process.exitCode = 1
    if (!typed.json) await command.print(result, out, { ...args, ...shown })
    else if (result !== null) out.json(result)
  }
  if (typed.dryRun) return show(await call({ dryRun: true }), { dryRun: true })
  if (command.destructive && !typed.yes && out.terminal && process.stdin.isTTY) {
    const planned = await call({ dryRun: true })
    if (command.asks?.(planned) ?? true) {
      await command.print(planned, out, { ...args, dryRun: true })
      if (!(await confirmed())) return out.line('nothing was changed')
    }
  }
  await show(await call({ dryRun: false }), { dryRun: false })
}
