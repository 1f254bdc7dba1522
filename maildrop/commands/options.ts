/** What may be typed after a command of `maildropctl`. */
import type { Argv } from 'yargs'
import { withChoice } from './choice.ts'
import { type LogOptions, MAX_LOG_BYTES } from './log.ts'
import type { OperateOptions } from './operate.ts'
import type { QueueOptions } from './queue.ts'
import type { ShowOptions } from './show.ts'

/** Of every command. */
export interface Common {
  readonly config: string | undefined
}

export interface WithJson {
  readonly json: boolean
}

/** Tells yargs what may be typed. */
export type Declare<Options> = (command: Argv<Common>) => Argv<Common & Options>

/** Options without a value, of any command. */
export const FLAGS = ['json', 'dry-run', 'yes', 'body', 'raw', 'follow', 'help', 'version']

export const json: Declare<WithJson> = command => command.option('json', flag('print JSON'))

export const queueOptions: Declare<QueueOptions> = command =>
  withChoice(json(command))
    .option('limit', { type: 'number', requiresArg: true, describe: 'list at most so many; 0 is no limit' })
    .check(({ limit }) => {
      if (limit === undefined || (Number.isInteger(limit) && limit >= 0)) return true
      throw new Error('--limit: expected a whole number')
    })

export const showOptions: Declare<ShowOptions> = command =>
  json(command)
    .positional('id', {
      type: 'string',
      demandOption: true,
      describe: 'id, or the beginning of it, or the path of the file',
    })
    .option('body', flag('print the body as well'))
    .option('raw', flag('print the mail file as it is, and nothing else'))
    .check(({ body, raw, json }) => {
      if ([body, raw, json].filter(Boolean).length <= 1) return true
      throw new Error('--body, --raw and --json do not go together')
    })

export const operateOptions: Declare<OperateOptions> = command =>
  withChoice(json(command))
    .positional('ids', {
      type: 'string',
      array: true,
      default: [],
      describe: 'ids, or the beginnings of them, or paths of files',
    })
    // which yargs gives as dryRun, too
    .option('dry-run', flag('only say what would be done')) as unknown as Argv<Common & OperateOptions>

export const deleteOptions: Declare<OperateOptions> = command =>
  operateOptions(command).option('yes', { alias: 'y', ...flag('do not ask') })

export const logOptions: Declare<LogOptions> = command =>
  command
    .option('bytes', { type: 'number', default: 16_384, requiresArg: true, describe: 'print at most so many bytes' })
    .option('follow', { alias: 'f', ...flag('go on with what is added') })
    .check(({ bytes }) => {
      if (Number.isInteger(bytes) && bytes >= 1 && bytes <= MAX_LOG_BYTES) return true
      throw new Error(`--bytes: expected a whole number from 1 to ${MAX_LOG_BYTES}`)
    })

const flag = (describe: string) => ({ type: 'boolean', default: false, describe }) as const
