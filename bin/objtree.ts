/**
 * `objtree`: the object tree from the command line.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage. Errors and warnings are one line each on standard error.
 * What a command is, is said in administration/command.ts; this reads the command line, has the command carried out, and prints.
 */
import type { Argv } from 'yargs'
import type { Command, Listener, Typed } from '../administration/command.ts'
import { COMMANDS, type CommandName, isCommand, loadCommand } from '../administration/commands/index.ts'
import { Output } from '../administration/output.ts'
import { printable } from '../administration/printable.ts'
import { WrongUsage } from '../administration/wrong-usage.ts'
import { confirmed } from '../maildrop/commands/asking.ts'
import { parsed, versionFor } from '../maildrop/commands/command-line.ts'
import { lostOutput, run, usageError } from '../maildrop/commands/output.ts'
import { yargs } from '../maildrop/commands/yargs.ts'
import { applicationSettings, loadModules } from './application.ts'
import { noteOf } from './note.ts'
import { ProgressLine } from './progress.ts'
import { carryOut, databaseDirectory, userName } from './session.ts'
import { argumentsOf, COMMON, declare, flagsOf, optionOptions, optionsOf, usageOf, wrongOption } from './usage.ts'

const NAME = 'objtree'

/** @param args what follows the name of the program */
export async function objtree(args: readonly string[]): Promise<void> {
  if (args[0]?.startsWith('--complete')) return (await import('./completion.ts')).completion(args)
  process.removeAllListeners('warning')
  process.on('warning', ({ message }) => process.stderr.write(`${NAME}: warning: ${oneLine(message)}\n`))
  const at = placeOfCommand(args)
  const word = args[at]
  if (word !== undefined && isCommand(word)) return command(word, args, args.toSpliced(at, 1))
  const parser = commandLine(NAME, args).usage('$0 COMMAND\n\nLooks at and changes the object tree.')
  for (const [name, { summary }] of Object.entries(COMMANDS)) parser.command(name, summary)
  parser
    .example('$0 init', 'create a database in data/objects')
    .example('$0 add MaildropHost /mail/XYZ --parents', 'a mail host in it')
    .example('$0 tree', 'see what is there')
    .epilogue('Exit codes: 0 done, 1 failed, 2 wrong usage.  $0 COMMAND --help tells about a command.')
    .recommendCommands()
    .demandCommand(1, 1, 'a command is missing', 'one command is expected')
    .fail((message, error) => {
      const problem = message || error.message
      usageError(NAME, word === undefined ? problem : unknownCommand(word, problem))
    })
  await parsed(NAME, args, parser, flagsOf(COMMON))
}

/**
 * To yargs it is a program of its own, as the help of a command among others is put together even if nobody asks for it.
 * @param args as they were typed
 * @param rest the same without the name of the command
 */
async function command(name: CommandName, args: readonly string[], rest: readonly string[]): Promise<void> {
  const command = await loadCommand(name)
  const program = `${NAME} ${name}`
  const parser = commandLine(program, rest)
    .command(usageOf('$0', command), COMMANDS[name].summary, argv => declare(argv, command))
    .fail((message, error) => refuse(name, command, message || error.message))
  const typed: Typed | undefined = await parsed(NAME, rest, parser, flagsOf({ ...COMMON, ...optionsOf(command) }))
  if (typed === undefined) return
  const wrong = wrongOption(command, typed)
  if (wrong !== undefined) usageError(NAME, wrong, program)
  let misuse: string | undefined
  await run(NAME, async () => {
    misuse = await said(perform(name, command, typed, args))
  })
  if (misuse !== undefined) usageError(NAME, misuse, program)
}

function commandLine(program: string, args: readonly string[]): Argv {
  const parser = yargs([...args])
    .scriptName(program)
    .parserConfiguration({ 'greedy-arrays': false, 'dot-notation': false, 'parse-numbers': false })
  for (const [name, option] of Object.entries(COMMON)) parser.option(name, optionOptions(option))
  return parser
    .strict()
    .version('version', 'show the version', versionFor(args))
    .help('help', 'show help')
    .alias('help', 'h')
    .locale('en')
}

/**
 * Messages quote files and data: an error is one line all the same, and nothing of it controls the terminal.
 * @returns what is wrong with the command line, if that is what is wrong
 */
async function said(work: Promise<void>): Promise<string | undefined> {
  try {
    await work
    return undefined
  } catch (cause) {
    if (cause instanceof WrongUsage) return oneLine(cause.message)
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

/** Where the first word is that is no option. */
function placeOfCommand(args: readonly string[]): number {
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!
    if (!word.startsWith('-')) return i
    const option = COMMON[word.replace(/^--/, '')]
    if (option !== undefined && option.type !== 'boolean') i += 1
  }
  return -1
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
  const unread = () => interrupted.abort(new Error(lostOutput(process.stdout.errored)))
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
    else if (result !== null) await out.json(result)
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
