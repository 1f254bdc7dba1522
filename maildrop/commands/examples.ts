/** The examples in the help of each command of `maildropctl`. */
import type { Argv } from 'yargs'

const EXAMPLES = {
  start: [
    ['start', 'with the configuration found'],
    ['--config /etc/maildrop/news start', 'with another one'],
  ],
  stop: [['stop', 'what is in transfer may finish']],
  restart: [['restart', 'with what is new in the configuration, and in the program']],
  reload: [['reload', 'go on with what is new in the configuration; a wrong one is refused']],
  status: [
    ['status', 'for people'],
    ['status --json', 'for monitoring; ends with 1 if no daemon runs'],
  ],
  configtest: [
    ['configtest', 'before the daemon is started'],
    ['--config /etc/maildrop/new configtest', 'before another configuration is used'],
  ],
  queue: [
    ['queue --state deferred --older 1h', 'what has been deferred for long'],
    ['queue --to "*@example.org" --json', 'what goes there, for a program'],
  ],
  show: [
    ['show 0mhx2k4f1', 'the message whose id begins so'],
    ['show 0mhx2k4f1 --body', 'with what it says'],
    ['show 0mhx2k4f1 --raw > mail.txt', 'the mail file as it is'],
  ],
  retry: [
    ['retry 0mhx2k4f1', 'this message now'],
    ['retry --state failed --to "*@example.org"', 'what was given up there'],
  ],
  hold: [
    ['hold 0mhx2k4f1', 'keep it until it is released'],
    ['hold --from news@example.org --dry-run', 'see what would be held'],
  ],
  release: [
    ['release 0mhx2k4f1', 'let it go'],
    ['release --state held', 'let all go'],
  ],
  delete: [
    ['delete 0mhx2k4f1', 'asks before it does'],
    ['delete --state failed --older 30d --yes', 'tidy up, without a question'],
  ],
  flush: [['flush', 'the server is there again: try all that is deferred']],
  drain: [['drain', 'in a script: deliver, and go on when nothing is left to be tried now']],
  log: [
    ['log', 'the last 16 KiB'],
    ['log --follow', 'see what is happening'],
  ],
} as const satisfies Record<string, readonly (readonly [command: string, what: string])[]>

export type Exampled = keyof typeof EXAMPLES

export function withExamples<T>(name: Exampled, command: Argv<T>): Argv<T> {
  for (const [line, what] of EXAMPLES[name]) command.example(`$0 ${line}`, what)
  return command
}
