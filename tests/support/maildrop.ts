/**
 * A maildrop of a test's own: a temporary home, its environment, daemons on it, and ways to look inside.
 */
import { mkdtempSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { listSpool, type QueuedMail } from '../../maildrop/spool/listing.ts'
import { submit } from '../../maildrop/spool/write.ts'
import { type Child, launch } from './children.ts'
import { removeDirectory } from './program.ts'
import { waitFor } from './waiting.ts'

export interface TestMaildrop {
  readonly home: string
  readonly spool: string
  readonly env: Record<string, string>
  /** Starts a daemon and waits until it is ready (or has died); `args` as of daemon-child. */
  daemon(args?: readonly string[], env?: Record<string, string>): Promise<Child>
  /** Submits a message the way applications do; returns its id. */
  submit(to: readonly string[], options?: { from?: string; message?: string; notBefore?: Date }): Promise<string>
  /** Drops a file as it is, by rename from elsewhere on the file system. */
  drop(name: string, content: string | Uint8Array): Promise<void>
  log(): string
  /** Log lines of one kind. */
  lines(event: string): string[]
  queue(): Promise<QueuedMail[]>
  /** Resolves when nothing but failed messages is left. */
  drained(): Promise<void>
}

export function testMaildrop(t: Test, port: number, extra: Record<string, string> = {}): TestMaildrop {
  const home = mkdtempSync(join(tmpdir(), 'maildrop-test-'))
  t.teardown(() => removeDirectory(home))
  const spool = join(home, 'spool')
  const env = {
    MAILDROP_HOME: home,
    SMTP_HOST: '127.0.0.1',
    SMTP_PORT: String(port),
    MAILDROP_TLS: '0',
    SUPERVISED_DAEMON: '1',
    MAILDROP_INTERVAL: '60',
    ...extra,
  }
  const log = (): string => {
    try {
      return readFileSync(join(home, 'var', 'maildrop.log'), 'utf8')
    } catch {
      return ''
    }
  }
  const drop: TestMaildrop = {
    home,
    spool,
    env,
    async daemon(args = [], more = {}) {
      const child = launch(t, 'tests/support/daemon-child.ts', args, { cwd: home, env: { ...env, ...more } })
      const over = child.ended.then(() => true)
      await waitFor('the daemon', async () => child.output().includes('ready') || (await Promise.race([over, false])))
      return child
    },
    async submit(to, { from = 'sender@example.org', message = MESSAGE, notBefore } = {}) {
      const id = newMailId()
      await submit(spool, id, formatMailFile({ id, from, to, notBefore }, Buffer.from(message)))
      return id
    },
    async drop(name, content) {
      await mkdir(spool, { recursive: true })
      await writeFile(join(home, 'draft'), content)
      await rename(join(home, 'draft'), join(spool, name))
    },
    log,
    lines: event =>
      log()
        .split('\n')
        .filter(line => line.split(' ')[1] === event),
    queue: () => listSpool(spool),
    async drained() {
      await waitFor('an empty queue', async () => (await listSpool(spool)).every(({ status }) => status === 'failed'))
    },
  }
  return drop
}

/** Makes every deferred message due now; a running daemon notices at its next scan. */
export function makeDue(spool: string): void {
  for (const name of namesIn(spool, '.deferred')) {
    const due = name.replace(/^\d+/, '1')
    try {
      if (name !== due) renameSync(join(spool, '.deferred', name), join(spool, '.deferred', due))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
}

/** Names in a directory of the spool, sorted; none if it does not exist. */
export function namesIn(...path: string[]): string[] {
  try {
    return readdirSync(join(...path)).sort()
  } catch {
    return []
  }
}

/** The mail files in a spool, in the order of their names, as text. */
export function mailsIn(spool: string): string[] {
  const names = namesIn(spool).filter(name => !name.startsWith('.') && name !== 'failed')
  return names.map(name => readFileSync(join(spool, name), 'utf8'))
}

/** Does something while the daemon sees nothing. */
export async function whileFrozen(daemon: Child, work: () => unknown): Promise<void> {
  daemon.process.kill('SIGSTOP')
  await waitFor('the daemon to stop', () => {
    if (daemon.process.exitCode !== null || daemon.process.signalCode !== null)
      throw new Error(`the daemon has ended: ${daemon.output()}`)
    return / T /.test(readFileSync(`/proc/${daemon.pid}/stat`, 'utf8'))
  })
  await work()
  daemon.process.kill('SIGCONT')
}

export const MESSAGE = 'From: sender@example.org\r\nSubject: hello\r\nMessage-ID: <fixed@example.org>\r\n\r\nHello.\r\n'

/** A mail file like the one of the original's documentation. */
export const SAMPLE = `##To:ann@example.org,bob@example.org
##From:sender@example.org
From: "Sender" <sender@example.org>
To: "Ann" <ann@example.org>
Subject: This is a test message

Body
`
