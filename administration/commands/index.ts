/** All commands: what each is for, and where it is. Each is loaded when it is asked for, so that none waits for the others. */
import type { Command } from '../command.ts'

export interface CommandEntry {
  readonly summary: string
  readonly load: () => Promise<{ readonly command: unknown }>
}

export const COMMANDS = {
  init: { summary: 'create a database', load: () => import('./init.ts') },
  ls: { summary: 'list a folder', load: () => import('./ls.ts') },
  tree: { summary: 'draw a subtree', load: () => import('./tree.ts') },
  show: {
    summary: "print an object's properties; of a mail host, also where its mail goes",
    load: () => import('./show.ts'),
  },
  add: { summary: 'create an object', load: () => import('./add.ts') },
  set: { summary: "change an object's properties", load: () => import('./set.ts') },
  mv: { summary: 'rename or move an object', load: () => import('./mv.ts') },
  cp: { summary: 'copy an object, with all that is in it', load: () => import('./cp.ts') },
  rm: { summary: 'remove an object', load: () => import('./rm.ts') },
  render: { summary: 'print a page; the mail that it sends is committed', load: () => import('./render.ts') },
  send: {
    summary: 'send the message on standard input through a mail host; prints the Message-ID',
    load: () => import('./send.ts'),
  },
  types: { summary: 'list what add can make, and what can be set of it', load: () => import('./types.ts') },
  log: { summary: 'list the transactions, newest first', load: () => import('./log.ts') },
  history: { summary: "list an object's revisions", load: () => import('./history.ts') },
  diff: { summary: 'show what a transaction changed, or two moments differ in', load: () => import('./diff.ts') },
  undo: { summary: 'take transactions back', load: () => import('./undo.ts') },
  export: { summary: 'write an object with all that is in it to a file', load: () => import('./export.ts') },
  import: { summary: 'put what an export holds into the tree', load: () => import('./import.ts') },
  'export-dir': { summary: 'write a subtree as ordinary files', load: () => import('./export-dir.ts') },
  'import-dir': { summary: 'read a directory of files into the tree', load: () => import('./import-dir.ts') },
  pack: { summary: 'forget history, and objects that nothing refers to', load: () => import('./pack.ts') },
  verify: { summary: 'read everything, and tell what is wrong', load: () => import('./verify.ts') },
  backup: { summary: 'copy the whole database, while it is in use', load: () => import('./backup.ts') },
  restore: { summary: 'make a database of a backup', load: () => import('./restore.ts') },
  salvage: { summary: 'make a new database of what can be read of a damaged one', load: () => import('./salvage.ts') },
  upgrade: { summary: 'store objects of older versions of their classes anew', load: () => import('./upgrade.ts') },
  watch: { summary: 'follow what is committed', load: () => import('./watch.ts') },
  stats: { summary: 'count what the database holds', load: () => import('./stats.ts') },
  shell: { summary: 'try things in JavaScript, on the open tree', load: () => import('./shell.ts') },
  completion: {
    summary: 'print a script that completes command lines in a shell',
    load: () => import('./completion.ts'),
  },
} as const satisfies Readonly<Record<string, CommandEntry>>

export type CommandName = keyof typeof COMMANDS

export const isCommand = (name: string): name is CommandName => Object.hasOwn(COMMANDS, name)

export async function loadCommand(name: CommandName): Promise<Command> {
  return (await COMMANDS[name].load()).command as Command
}
