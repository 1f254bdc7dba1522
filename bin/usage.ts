/** A command's data as yargs takes it, and as help and documentation show it. */
import type { Argv, Options, PositionalOptions } from 'yargs'
import type { Command, Option, Positional, Typed } from '../administration/command.ts'

/** Options that every command has. */
export const COMMON: Readonly<Record<string, Option>> = {
  db: {
    type: 'string',
    kind: 'directory',
    describe: 'directory of the database [default: OBJTREE_DB, or data/objects]',
  },
  require: {
    type: 'string',
    many: true,
    kind: 'file',
    describe: "module that registers the application's classes [default: as objtree.config.js or package.json say]",
  },
  json: { type: 'boolean', default: false, describe: 'print JSON' },
}

const DESTRUCTIVE: Readonly<Record<string, Option>> = {
  yes: { type: 'boolean', alias: 'y', default: false, describe: 'do not ask' },
  'dry-run': { type: 'boolean', alias: 'n', default: false, describe: 'only tell what would be done' },
}

const SALVAGE: Readonly<Record<string, Option>> = {
  salvage: {
    type: 'boolean',
    default: false,
    describe: 'read what is left of a damaged database; use it on a copy',
  },
}

/** A command's own options, with those that its kind has. */
export function optionsOf(command: Command): Readonly<Record<string, Option>> {
  return {
    ...command.options,
    ...(command.destructive && DESTRUCTIVE),
    ...(command.works !== 'directory' && command.reads && SALVAGE),
  }
}

/** Names of those that take no value. */
export function flagsOf(options: Readonly<Record<string, Option>>): string[] {
  return Object.entries(options).flatMap(([name, { type }]) => (type === 'boolean' ? [name] : []))
}

/** `ls [path]`, `add <type> <path> [properties..]` */
export function usageOf(name: string, command: Command): string {
  const words = (command.positionals ?? []).map(({ name, required, many }) => {
    const word = `${name}${many ? '..' : ''}`
    return required ? `<${word}>` : `[${word}]`
  })
  return [name, ...words].join(' ')
}

/** What was typed of a command's own: the arguments of one that does not prepare them. */
export function argumentsOf(command: Command, typed: Typed): object {
  const names = [...(command.positionals ?? []).map(({ name }) => name), ...Object.keys(optionsOf(command))].map(
    camelCase,
  )
  return Object.fromEntries(names.map(name => [name, typed[name]]))
}

/**
 * What is wrong with what was typed, where yargs does not mind: of several values of an option it would not be clear which is meant, and words
 * after `--` are left over.
 */
export function wrongOption(command: Command, typed: Typed): string | undefined {
  const [left] = typed._ as readonly unknown[]
  if (left !== undefined) return `nothing is taken after --, found ${JSON.stringify(left)}; a path begins with /`
  for (const [name, { type, many }] of Object.entries({ ...COMMON, ...optionsOf(command) })) {
    const value = typed[camelCase(name)]
    if (Array.isArray(value) && !many) return `--${name} is given more than once`
    if (type === 'number' && value !== undefined && !Number.isFinite(value)) return `--${name} must be a number`
  }
  return undefined
}

const camelCase = (name: string): string => name.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())

/** Tells yargs what may be typed. */
export function declare(argv: Argv, command: Command): Argv {
  for (const positional of command.positionals ?? []) argv.positional(positional.name, positionalOptions(positional))
  for (const [name, option] of Object.entries(optionsOf(command))) argv.option(name, optionOptions(option))
  for (const [line, meaning] of command.examples) argv.example(`objtree ${line}`, meaning)
  return argv
}

export function optionOptions({ type, describe, alias, many, default: value }: Option): Options {
  return {
    type,
    describe,
    requiresArg: type !== 'boolean',
    ...(alias !== undefined && { alias }),
    ...(many && { array: true }),
    ...(value !== undefined && { default: value }),
  }
}

function positionalOptions({ describe, required, many, choices, default: value }: Positional): PositionalOptions {
  return {
    type: 'string',
    describe,
    ...(required && { demandOption: true }),
    ...(many && { array: true }),
    ...(choices !== undefined && { choices }),
    ...(value !== undefined ? { default: value } : many && !required && { default: [] }),
  }
}
