/**
 * What a command is, in data: what may be typed, what is done, what is printed.
 *
 * A command has three parts, so that its work can be done in another process than the one that was started:
 *
 *     prepare   turns what was typed into arguments, where the user is: relative paths become absolute, standard input is read
 *     run       does the work where the database is open; arguments and result survive JSON (bytes are base64, times ISO 8601)
 *     print     shows the result where the user is
 *
 * `run` knows nothing of yargs and of terminals, and `print` nothing of the database. The result is what `--json` prints: its shape is an
 * interface to programs (docs/objtree.md). What is too long for a result, or has no end, is emitted in parts. An Invocation is one call.
 */
import type { Application, Database } from '../objects/index.ts'
import type { Output } from './output.ts'

/** What a word on the command line stands for, for its completion. */
export type Kind = 'path' | 'type' | 'file' | 'directory' | 'transaction' | 'assignment'

export interface Positional {
  readonly name: string
  readonly describe: string
  readonly required?: true
  /** Takes all that follow. */
  readonly many?: true
  readonly kind?: Kind
  readonly choices?: readonly string[]
  readonly default?: string
}

export interface Option {
  readonly type: 'boolean' | 'string' | 'number'
  readonly describe: string
  readonly alias?: string
  /** May be given several times. */
  readonly many?: true
  readonly default?: boolean | string | number
  readonly kind?: Kind
}

/** What a command's work is done with. */
export interface Context extends Place {
  readonly db: Database<Application>
}

/** The same for a command that works on the database's directory, and opens it itself if at all. */
export interface Place extends Listener {
  /** The database's directory, absolute. */
  readonly directory: string
  readonly user: string
  /** The command line, for the note of a transaction. */
  readonly note: string
}

/** Whom the work reports to on its way. */
export interface Listener {
  /** Whether anybody looks at the progress. */
  readonly watched: boolean
  /** Is told how far the work is. */
  progress(state: Progress): void
  /** Hands out a part of what is printed, before the end: data for a line, or bytes. Resolves when more can be taken. */
  emit(part: unknown): Promise<void>
  /** The user wants no more. */
  readonly signal: AbortSignal
}

export interface Progress {
  /** What is counted, such as `records`. */
  readonly unit: string
  readonly done: number
  /** How many there are in all, if that is known. */
  readonly total?: number
  /** The total is an estimate, or the most that there can be. */
  readonly about?: true
}

interface Described<Args, Result> {
  readonly positionals?: readonly Positional[]
  readonly options?: Readonly<Record<string, Option>>
  /** Command lines without `objtree`, each with what it is for. They run in the tests. */
  readonly examples: readonly (readonly [line: string, meaning: string])[]
  /**
   * It changes what cannot be typed again: on a terminal it is asked for, `--yes` answers beforehand, `--dry-run` only tells. `run` then
   * gets `dryRun: true`, changes nothing, and its result says what would be done.
   */
  readonly destructive?: true
  /** It lasts until somebody ends it; so the process that does it carries out the commands of others meanwhile. */
  readonly lasting?: true
  /** Of a destructive one: whether what a dry run found is worth a question. By default it is. */
  asks?(result: Result): boolean
  /** By default the arguments are what was typed. */
  prepare?(typed: Typed): Args | Promise<Args>
  print(result: Result, out: Output, args: Args): void | Promise<void>
  /** A part that was emitted, as a line for people. Without it, and with `--json`, it is a line of JSON; bytes go out as they are. */
  lineOf?(part: never): string
  /** Whether the result, though it could be given, means that what was looked for is not so: the exit code is 1. */
  failed?(result: Result): boolean
}

/** Works in the tree. */
export interface TreeCommand<Args = object, Result = unknown> extends Described<Args, Result> {
  readonly works?: 'tree'
  /** It only reads, so it can be tried with a damaged database too (`--salvage`). */
  readonly reads?: true
  /** It may be used on what somebody else has made up: all files are looked through before the database is opened. */
  readonly untrusted?: true
  run(context: Context, args: Args): Result | Promise<Result>
}

/** Works on the directory. */
export interface DirectoryCommand<Args = object, Result = unknown> extends Described<Args, Result> {
  readonly works: 'directory'
  run(place: Place, args: Args): Result | Promise<Result>
}

export type Command = TreeCommand | DirectoryCommand

/** What yargs made of the command line: positionals and options by name, in camel case. */
export type Typed = Readonly<Record<string, unknown>>

/** A call of a command, as data. */
export interface Invocation {
  readonly command: string
  readonly args: object
  readonly user: string
  readonly note: string
}

/** The arguments every destructive command gets. */
export interface DryRun {
  readonly dryRun?: boolean
}
