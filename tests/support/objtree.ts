/**
 * A user of objtree in a directory of their own. Commands run one after the other in one child process, because starting one for
 * each takes long; what a process of its own is needed for is tested with the launcher (tests/support/program.ts).
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { LOADER } from './children.ts'
import type { Request } from './objtree-child.ts'
import { directory, type Outcome } from './program.ts'

export interface User {
  readonly cwd: string
  /** Runs `objtree ARGS`. */
  run(args: readonly string[], input?: string | Buffer): Promise<Outcome>
  /** Runs it, expects success with nothing on standard error, and gives what it printed. */
  ok(args: readonly string[], input?: string | Buffer): Promise<string>
  /** The same with `--json`, read. */
  json<T>(args: readonly string[], input?: string | Buffer): Promise<T>
  /** Runs it and expects one line on standard error that matches, and the exit code. */
  fails(args: readonly string[], message: RegExp, code?: number, input?: string | Buffer): Promise<void>
}

/** @param options init: make a database; env: besides PATH and HOME */
export async function objtreeUser(
  t: Test,
  { init = true, env = {} }: { init?: boolean; env?: Readonly<Record<string, string>> } = {},
): Promise<User> {
  const cwd = await directory(t)
  const child = fork(fileURLToPath(new URL('objtree-child.ts', import.meta.url)), {
    cwd,
    execArgv: [LOADER],
    env: { PATH: process.env.PATH, HOME: cwd, ...env },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  child.setMaxListeners(0)
  const ended = once(child, 'exit')
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await once(child, 'message')
  const run: User['run'] = (args, input: string | Buffer = '') =>
    answer(child, { args, input: Buffer.from(input).toString('base64') })
  const ok: User['ok'] = async (args, input) => {
    const { code, stdout, stderr } = await run(args, input)
    t.same([code, stderr], [0, ''], `objtree ${args.join(' ')}`)
    return stdout
  }
  if (init) await ok(['init'])
  return {
    cwd,
    run,
    ok,
    json: async (args, input) => JSON.parse(await ok([...args, '--json'], input)),
    async fails(args, message, expected = 1, input) {
      const { code, stdout, stderr } = await run(args, input)
      t.equal(code, expected, `objtree ${args.join(' ')}: ${stderr}`)
      t.match(stderr, /^objtree: [^\n]+\n$/, 'one line, without a stack trace')
      t.match(stderr, message)
      t.equal(stdout, '')
    },
  }
}

async function answer(child: ChildProcess, request: Request): Promise<Outcome> {
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the process ended (${code ?? signal}) at objtree ${request.args.join(' ')}`)
  })
  const answered = once(child, 'message')
  child.send(request)
  const [outcome] = await Promise.race([answered, ended])
  return outcome as Outcome
}
