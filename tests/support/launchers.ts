/**
 * The launchers in maildrop/bin as users run them: in a working directory of the test's own, against a scripted server.
 */
import { existsSync, mkdtempSync, readFileSync, realpathSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { readPidFile } from '../../maildrop/daemon/pid-file.ts'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { submit } from '../../maildrop/spool/write.ts'
import { type Child, type Ended, launchProgram, PROJECT } from './children.ts'
import { MESSAGE } from './maildrop.ts'
import { removeDirectory } from './program.ts'
import { type SmtpScript, startSmtpScript } from './smtp-script.ts'
import { waitFor } from './waiting.ts'

export type Launcher = 'start_maildrop' | 'stop_maildrop' | 'maildropctl'
/** Undefined removes a variable that would be set otherwise. */
export type Environment = Record<string, string | undefined>

/** A working directory with a maildrop of its own; daemons that are left over are killed by the pid in its pid file. */
export async function setUp(t: Test, script: SmtpScript = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const cwd = realpathSync(mkdtempSync(join(tmpdir(), 'maildrop-launch-')))
  const home = join(cwd, 'data', 'maildrop')
  const spool = join(home, 'spool')
  const pidFile = join(home, 'var', 'maildrop.pid')
  const logFile = join(home, 'var', 'maildrop.log')
  t.teardown(async () => {
    if (existsSync(pidFile)) await killDaemon(pidFile)
    await removeDirectory(cwd)
  })
  const settings: Environment = { SMTP_HOST: '127.0.0.1', SMTP_PORT: String(server.port), MAILDROP_TLS: '0' }
  const begin = (name: Launcher, args: readonly string[] = [], env: Environment = {}): Child => {
    const assignments = Object.entries({ PATH: process.env.PATH ?? '', ...settings, ...env }).flatMap(pair =>
      pair[1] === undefined ? [] : [pair.join('=')],
    )
    return launchProgram(t, 'env', ['-i', ...assignments, join(PROJECT, 'maildrop', 'bin', name), ...args], { cwd })
  }
  return {
    server,
    cwd,
    home,
    spool,
    pidFile,
    logFile,
    begin,
    run: (name: Launcher, args: readonly string[] = [], env: Environment = {}) => begin(name, args, env).ended,
    async submit(to: string): Promise<string> {
      const id = newMailId()
      await submit(spool, id, formatMailFile({ id, from: 'sender@example.org', to: [to] }, Buffer.from(MESSAGE)))
      return id
    },
  }
}

export async function killDaemon(pidFile: string): Promise<number> {
  const found = readPidFile(pidFile)
  if (found.kind !== 'running') return 0
  process.kill(found.identity.pid, 'SIGKILL')
  await waitFor('its end', () => readPidFile(pidFile).kind !== 'running')
  return found.identity.pid
}

/** One line on standard error that names the program, and no stack trace anywhere. */
export function failsWith(t: Test, ended: Ended, code: number, message: RegExp): void {
  t.equal(ended.end, code, ended.stderr)
  t.match(ended.stderr, /^\w+: [^\n]+\n$/)
  t.match(ended.stderr, message)
  t.notMatch(ended.stderr + ended.stdout, /\n\s+at |node:|Error:/)
}

export const pidIn = (text: string): number => Number(/pid (\d+)/.exec(text)?.[1])

export function runs(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
