/**
 * What may follow on a command line: for the scripts that `objtree completion` prints.
 *
 *     objtree --complete WORD…            the last word is the one that is being typed, and may be empty
 *     objtree --complete-line LINE BREAKS the same for a line up to the cursor, as bash has it; BREAKS are the characters that end a word there
 *
 * The first line of the output is `:words`, `:file` or `:directory`: whether the candidates follow, one per line with a tab before its
 * description, or the shell is to complete names of files itself. Paths, types and transactions are looked up in the database, or asked
 * from the process that has it open. What cannot be found out is left out: completion never fails, and never changes anything.
 */
import type { Command, Kind, Option, Positional } from '../administration/command.ts'
import { COMMANDS, type CommandName, isCommand, loadCommand } from '../administration/commands/index.ts'
import { printable } from '../administration/printable.ts'
import { applicationSettings } from './application.ts'
import { carryOut, databaseDirectory, userName } from './session.ts'
import { COMMON, optionsOf } from './usage.ts'
import { escaped, lastWord } from './words.ts'

interface Candidate {
  readonly value: string
  readonly description?: string
}

type Found = 'file' | 'directory' | readonly Candidate[]

/** @param args as said above */
export async function completion([mode, ...rest]: readonly string[]): Promise<void> {
  if (mode === '--complete') return print(await candidates(rest), value => value)
  const [line = '', breaks = ''] = rest
  const { words, raw, quote } = lastWord(line)
  // bash replaces what follows the last of them
  const cut = Math.max(0, ...[...breaks].filter(each => /[=:@]/.test(each)).map(each => raw.lastIndexOf(each) + 1))
  print(await candidates(words.slice(1)), value => escaped(value, quote)?.slice(quote === '' ? cut : 0))
}

/** @param written the value as it is to be put into the line; undefined for one that cannot */
function print(found: Found, written: (value: string) => string | undefined): void {
  const lines = typeof found === 'string' ? [`:${found}`] : [':words']
  for (const { value, description = '' } of typeof found === 'string' ? [] : found) {
    const word = written(value)
    if (word !== undefined) lines.push(`${word}\t${printable(description)}`)
  }
  process.stdout.write(`${lines.join('\n')}\n`)
}

/** @param words what follows the name of the program */
async function candidates(words: readonly string[]): Promise<Found> {
  const current = words.at(-1) ?? ''
  try {
    const found = await following(words.slice(0, -1), current)
    return typeof found === 'string' ? found : found.filter(({ value }) => value.startsWith(current))
  } catch {
    return []
  }
}

async function following(before: readonly string[], current: string): Promise<Found> {
  const name = commandIn(before)
  const command = name === undefined ? undefined : await loadCommand(name)
  const options = command === undefined ? COMMON : { ...COMMON, ...optionsOf(command) }
  const typed = readWords(name === undefined ? before : before.slice(before.indexOf(name) + 1), options)
  const db = readWords(before, options).values.db
  const application = await applicationSettings([])
  const look = new Look(databaseDirectory(db ?? process.env.OBJTREE_DB, application.db))
  if (typed.expects !== undefined) return await look.up(typed.expects, current, [])
  if (current.startsWith('-') && !typed.ended) return optionNames(options, before)
  if (command === undefined && typed.positionals.length > 0) return []
  if (command === undefined)
    return Object.entries(COMMANDS).map(([value, { summary }]) => ({ value, description: summary }))
  const positional = positionalAt(command, typed.positionals.length)
  return positional === undefined ? [] : await look.up(positional, current, [name as string, ...typed.positionals])
}

function commandIn(words: readonly string[]): CommandName | undefined {
  const [first] = readWords(words, COMMON).positionals
  return first !== undefined && isCommand(first) ? first : undefined
}

interface Typed {
  readonly positionals: readonly string[]
  readonly values: Readonly<Record<string, string>>
  /** The option whose value comes next. */
  readonly expects: Option | undefined
  /** `--` was typed: what follows are no options. */
  readonly ended: boolean
}

function readWords(words: readonly string[], options: Readonly<Record<string, Option>>): Typed {
  const positionals: string[] = []
  const values: Record<string, string> = {}
  let expects: [string, Option] | undefined
  let ended = false
  for (const word of words) {
    if (expects !== undefined) {
      values[expects[0]] = word
      expects = undefined
    } else if (ended || !word.startsWith('-') || word === '-') positionals.push(word)
    else if (word === '--') ended = true
    else {
      const [, label = '', value] = /^--?([^=]+)(?:=(.*))?$/s.exec(word) ?? []
      const found = Object.entries(options).find(([name, { alias }]) => label === name || label === alias)
      if (found !== undefined && value !== undefined) values[found[0]] = value
      else if (found !== undefined && found[1].type !== 'boolean') expects = found
    }
  }
  return { positionals, values, expects: expects?.[1], ended }
}

function optionNames(options: Readonly<Record<string, Option>>, before: readonly string[]): Candidate[] {
  return Object.entries({ ...options, help: { describe: 'show help' } })
    .map(([name, { describe }]) => ({ value: `--${name}`, description: describe }))
    .filter(({ value }) => !before.includes(value))
}

function positionalAt({ positionals = [] }: Command, index: number): Positional | undefined {
  const last = positionals.at(-1)
  return positionals[index] ?? (last?.many ? last : undefined)
}

/** Looking things up in a database. */
class Look {
  private readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  /** @param before the command and its positionals so far */
  async up(
    { kind, choices }: { readonly kind?: Kind; readonly choices?: readonly string[] },
    current: string,
    before: readonly string[],
  ): Promise<Found> {
    if (choices !== undefined) return choices.map(value => ({ value }))
    if (kind === 'file' || kind === 'directory') return kind
    if (kind === 'path') return await this.paths(current)
    if (kind === 'type') return (await this.types()).map(({ type: value }) => ({ value }))
    if (kind === 'transaction') return await this.transactions()
    if (kind === 'assignment') return /^[^=]+=@[^@]*$/.test(current) ? 'file' : await this.assignments(before)
    return []
  }

  private async paths(current: string): Promise<Candidate[]> {
    const folder = current.slice(0, current.lastIndexOf('/') + 1) || '/'
    const entries = (await this.ask('ls', { path: folder })) as { name: string; type: string; folder: boolean }[]
    return entries.map(({ name, type, folder: open }) => ({
      value: `${folder}${name}${open ? '/' : ''}`,
      description: type,
    }))
  }

  private async types() {
    return (await this.ask('types', {})) as { type: string; properties: { name: string; description: string }[] }[]
  }

  private async transactions(): Promise<Candidate[]> {
    const entries = (await this.ask('log', { number: 20 })) as { tid: number; note: string }[]
    return entries.map(({ tid, note }) => ({ value: String(tid), description: note }))
  }

  private async assignments([command, first = '']: readonly string[]): Promise<Candidate[]> {
    const types = await this.types()
    const type = command === 'add' ? first : ((await this.ask('show', { path: first })) as { type: string }).type
    const properties = types.find(each => each.type === type)?.properties ?? []
    return properties.map(({ name, description }) => ({ value: `${name}=`, description }))
  }

  private async ask(name: CommandName, args: object): Promise<unknown> {
    const ignore = {
      watched: false,
      progress: () => undefined,
      emit: async () => undefined,
      signal: AbortSignal.any([]),
    }
    const invocation = { command: name, args, user: userName(), note: '' }
    return await carryOut(await loadCommand(name), invocation, { directory: this.directory, salvage: false }, ignore)
  }
}
