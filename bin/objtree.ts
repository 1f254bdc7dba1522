/**
 * `objtree`: the object tree from the command line.
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage. Errors and warnings are one line each on standard error.
 */
import yargs, { type Argv } from 'yargs'
import { run, usageError } from '../maildrop/commands/output.ts'
import { add, init, rm, set } from './commands/change.ts'
import { ls, show, tree } from './commands/look.ts'
import { render, renderPreview, send } from './commands/mail.ts'
import { databaseDirectory, type Session } from './session.ts'
import { typeNames } from './types.ts'

const NAME = 'objtree'

/** @param args what follows the name of the program */
export async function objtree(args: readonly string[]): Promise<void> {
  process.removeAllListeners('warning')
  process.on('warning', ({ message }) => process.stderr.write(`${NAME}: warning: ${message}\n`))
  const act =
    <Options extends Common>(work: (session: Session, options: Options) => Promise<void>) =>
    (options: Options): Promise<void> =>
      run(NAME, () => work({ db: databaseDirectory(options.db), note: [NAME, ...args].join(' ') }, options))

  await yargs([...args])
    .scriptName(NAME)
    .usage('$0 COMMAND\n\nLooks at and changes the object tree.')
    .option('db', {
      type: 'string',
      requiresArg: true,
      describe: 'directory of the database [default: OBJTREE_DB, or data/objects]',
    })
    .command(
      'init',
      'create a database',
      command => command.example('$0 --db data/shop init', 'create one in data/shop'),
      act(init),
    )
    .command(
      'ls [path]',
      'list a folder',
      command => json(atPath(command)).example('$0 ls /mail --json', 'for programs'),
      act((session, { path, json }) => ls(session, path, json)),
    )
    .command(
      'tree [path]',
      'draw a subtree',
      command => json(atPath(command)).example('$0 tree /', 'everything'),
      act((session, { path, json }) => tree(session, path, json)),
    )
    .command(
      'show [path]',
      "print an object's properties; of a mail host, also where its mail goes",
      command => json(atPath(command)).example('$0 show /mail/XYZ', 'the mail host and its spool'),
      act((session, { path, json }) => show(session, path, json)),
    )
    .command(
      'add <type> <path> [properties..]',
      'create an object',
      command =>
        assignments(command)
          .positional('type', {
            type: 'string',
            demandOption: true,
            describe: `the object's type: ${typeNames.join(', ')}`,
          })
          .positional('path', { type: 'string', demandOption: true, describe: 'where it is to be' })
          .option('parents', {
            type: 'boolean',
            default: false,
            describe: 'make the folders that are missing on the way',
          })
          .example('$0 add MaildropHost /mail/XYZ --parents', 'a mail host')
          .example('$0 add Template /shop/welcome source=@welcome.hbs', 'a page, from a file'),
      act((session, { type, path, properties, parents }) => add(session, type, path, properties, parents)),
    )
    .command(
      'set <path> <properties..>',
      "change an object's properties",
      command =>
        assignments(command)
          .positional('path', { type: 'string', demandOption: true, describe: 'the object' })
          .example('$0 set /mail/XYZ title="Outgoing mail"', 'change the title'),
      act((session, { path, properties }) => set(session, path, properties)),
    )
    .command(
      'rm <path>',
      'remove an object',
      command =>
        command
          .positional('path', { type: 'string', demandOption: true, describe: 'the object' })
          .option('recursive', {
            alias: 'r',
            type: 'boolean',
            default: false,
            describe: 'also a folder with what is in it',
          })
          .example('$0 rm /shop -r', 'remove the folder and all in it'),
      act((session, { path, recursive }) => rm(session, path, recursive)),
    )
    .command(
      'render <template>',
      'print a page; the mail that it sends is committed',
      command =>
        command
          .positional('template', {
            type: 'string',
            demandOption: true,
            describe: 'path of a Template in the tree, or a file',
          })
          .option('data', { type: 'string', requiresArg: true, describe: 'the values, as JSON or as @FILE' })
          .option('context', {
            type: 'string',
            requiresArg: true,
            describe: 'path of the object from which mail hosts are acquired',
          })
          .option('preview', {
            type: 'boolean',
            describe: 'show the messages that the page would send, and send nothing',
          })
          .option('json', { type: 'boolean', implies: 'preview', describe: 'print the preview as JSON' })
          .example('$0 render /shop/welcome --preview', 'what would be sent; HTML goes into a file')
          .example(`$0 render welcome.hbs --data '{"name":"Ann"}' --context /shop`, 'a file, as if it were in /shop'),
      act((session, { preview, json, ...request }) =>
        preview ? renderPreview(session, request, json === true) : render(session, request),
      ),
    )
    .command(
      'send <path>',
      'send the message on standard input through a mail host; prints the Message-ID',
      command =>
        command
          .positional('path', { type: 'string', demandOption: true, describe: 'the mail host' })
          .option('to', { type: 'string', requiresArg: true, describe: 'the recipients, with commas between' })
          .option('from', { type: 'string', requiresArg: true, describe: 'the sender' })
          .option('subject', { type: 'string', requiresArg: true, describe: 'the subject' })
          .example('$0 send /mail/XYZ --to ann@example.org < message', 'send a file'),
      act((session, { path, to, from, subject }) =>
        send(session, path, {
          ...(to !== undefined && { to }),
          ...(from !== undefined && { from }),
          ...(subject !== undefined && { subject }),
        }),
      ),
    )
    .example('$0 init', 'create a database in data/objects')
    .example('$0 add MaildropHost /mail/XYZ --parents', 'a mail host in it')
    .example('$0 tree', 'see what is there')
    .epilogue('Exit codes: 0 done, 1 failed, 2 wrong usage.  $0 COMMAND --help tells about a command.')
    .demandCommand(1, 1, 'a command is missing', 'one command is expected')
    .strict()
    .version(false)
    .help()
    .locale('en')
    .fail((message, error) => usageError(NAME, message || error.message))
    .parseAsync()
}

interface Common {
  readonly db: string | undefined
}

const json = <T>(command: Argv<T>) =>
  command.option('json', { type: 'boolean', default: false, describe: 'print JSON' })
const atPath = <T>(command: Argv<T>) =>
  command.positional('path', { type: 'string', default: '/', describe: 'the object' })
const assignments = <T>(command: Argv<T>) =>
  command.positional('properties', {
    type: 'string',
    array: true,
    default: [] as string[],
    describe: 'key=value; key=@FILE takes the value from a file',
  })
