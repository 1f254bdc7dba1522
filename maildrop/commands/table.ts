/** The commands of `maildropctl`: what each does, what may be typed, examples, and what carries it out. */
import type { MaildropConfig } from '../config.ts'
import type { Operation } from '../spool/operations.ts'
import { found, known, load, loadToDeliver } from './configured.ts'
import type { Facts } from './facts.ts'
import {
  type Common,
  type Declare,
  deleteOptions,
  json,
  logOptions,
  operateOptions,
  queueOptions,
  showOptions,
  type WithJson,
} from './options.ts'

export const NAME = 'maildropctl'

export interface Command {
  readonly summary: string
  /** What follows its name, such as `<id>`. */
  readonly words?: string
  readonly declare?: Declare<object>
  /** Command lines, and what they are for. */
  readonly examples: readonly (readonly [line: string, what: string])[]
  run(options: Common): Promise<void>
}

type Described<Options> = Omit<Command, 'declare' | 'run'> & { readonly declare?: Declare<Options> }
/** What a command needs is loaded when it is asked for. */
type Work<Options, Known> = () => Promise<(known: Known, options: Common & Options) => Promise<void>>

/** One that needs a configuration that can be used. */
const strict = <Options>(described: Described<Options>, work: Work<Options, MaildropConfig>): Command =>
  erased(described, async options => (await work())(loadToDeliver(NAME, options.config), options))

/** One that also works with a configuration that cannot be used, as long as a daemon runs with it. */
const anyway = <Options>(described: Described<Options>, work: Work<Options, MaildropConfig | Facts>): Command =>
  erased(described, async options => (await work())(await known(NAME, options.config), options))

/** What is declared is what `run` gets. */
function erased<Options>(described: Described<Options>, run: (options: Common & Options) => Promise<void>): Command {
  return { ...described, run } as Command
}

const startStop = () => import('./start-stop.ts')
const control = () => import('./control.ts')
const operation = (what: Operation) => async () => (await import('./operate.ts')).operation(NAME, what)

export const COMMANDS: Readonly<Record<string, Command>> = {
  start: strict(
    {
      summary: 'start the daemon',
      examples: [
        ['start', 'with the configuration found'],
        ['--config /etc/maildrop/news start', 'with another one'],
      ],
    },
    async () => (await startStop()).start,
  ),
  stop: erased<object>(
    {
      summary: 'stop the daemon; it finishes what it has begun',
      examples: [['stop', 'what is in transfer may finish']],
    },
    async ({ config }) => (await startStop()).stop(await found(NAME, config)),
  ),
  restart: strict(
    {
      summary: 'stop the daemon, if it runs, and start it',
      examples: [['restart', 'with what is new in the configuration, and in the program']],
    },
    async () => (await startStop()).restart,
  ),
  reload: strict(
    {
      summary: 'make the daemon read its configuration again',
      examples: [['reload', 'go on with what is new in the configuration; a wrong one is refused']],
    },
    async () => (await control()).reload,
  ),
  status: anyway(
    {
      summary: 'say whether the daemon runs, and how much mail there is',
      declare: json,
      examples: [
        ['status', 'for people'],
        ['status --json', 'for monitoring; ends with 1 if no daemon runs'],
      ],
    },
    async () => (await import('./status.ts')).status,
  ),
  configtest: erased<WithJson>(
    {
      summary: 'check directories, and log in to the server; sends nothing',
      declare: json,
      examples: [
        ['configtest', 'before the daemon is started'],
        ['--config /etc/maildrop/new configtest', 'before another configuration is used'],
      ],
    },
    async options => (await import('./configtest.ts')).configtest(() => load(NAME, options.config), options),
  ),
  queue: anyway(
    {
      summary: 'list the messages in the spool',
      declare: queueOptions,
      examples: [
        ['queue --state deferred --older 1h', 'what has been deferred for long'],
        ['queue --to "*@example.org" --json', 'what goes there, for a program'],
      ],
    },
    async () => (await import('./queue.ts')).queue,
  ),
  show: anyway(
    {
      summary: 'print what is known about a message',
      words: '<id>',
      declare: showOptions,
      examples: [
        ['show 0mhx2k4f1', 'the message whose id begins so'],
        ['show 0mhx2k4f1 --body', 'with what it says'],
        ['show 0mhx2k4f1 --raw > mail.txt', 'the mail file as it is'],
      ],
    },
    async () => (await import('./show.ts')).show,
  ),
  retry: anyway(
    {
      summary: 'make messages due now, also failed ones',
      words: '[ids..]',
      declare: operateOptions,
      examples: [
        ['retry 0mhx2k4f1', 'this message now'],
        ['retry --state failed --to "*@example.org"', 'what was given up there'],
      ],
    },
    operation('retry'),
  ),
  hold: anyway(
    {
      summary: 'keep messages back',
      words: '[ids..]',
      declare: operateOptions,
      examples: [
        ['hold 0mhx2k4f1', 'keep it until it is released'],
        ['hold --from news@example.org --dry-run', 'see what would be held'],
      ],
    },
    operation('hold'),
  ),
  release: anyway(
    {
      summary: 'let messages go that are held',
      words: '[ids..]',
      declare: operateOptions,
      examples: [
        ['release 0mhx2k4f1', 'let it go'],
        ['release --state held', 'let all go'],
      ],
    },
    operation('release'),
  ),
  delete: anyway(
    {
      summary: 'delete messages for good',
      words: '[ids..]',
      declare: deleteOptions,
      examples: [
        ['delete 0mhx2k4f1', 'asks before it does'],
        ['delete --state failed --older 30d --yes', 'tidy up, without a question'],
      ],
    },
    operation('delete'),
  ),
  flush: anyway(
    {
      summary: 'make deferred messages due now',
      examples: [['flush', 'the server is there again: try all that is deferred']],
    },
    async () => (await control()).flush,
  ),
  drain: strict(
    {
      summary: 'deliver what can be delivered now, and return; 1 if anything is left',
      examples: [['drain', 'in a script: deliver, and go on when nothing is left to be tried now']],
    },
    async () => (await control()).drain,
  ),
  log: anyway(
    {
      summary: 'print the last part of the log',
      declare: logOptions,
      examples: [
        ['log', 'the last 16 KiB'],
        ['log --follow', 'see what is happening'],
      ],
    },
    async () => (await import('./log.ts')).log,
  ),
}
