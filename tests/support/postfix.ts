/**
 * A Postfix of a test's own: its configuration, queue, log, users and mail are in one temporary directory, it listens on one
 * loopback port, and nothing of the system's Postfix is read or touched. Only root can start one; `postfixProblem` says why
 * it is not possible.
 *
 *     const postfix = await startPostfix({ users: { ann: 'secret' } })
 *     postfix.port … postfix.mail() … await postfix.stop()
 *
 * It takes mail for `example.org` into a Maildir, unchanged behind the header lines it adds. With `users`, only after STARTTLS (with
 * the certificate of tests/support/tls) and a login against a sasldb. With `relay`, all mail goes on to that port instead.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PROJECT } from './children.ts'
import { answers, freePort } from './ports.ts'
import { removeDirectory } from './program.ts'
import { waitFor } from './waiting.ts'

const PROGRAMS = '/usr/lib/postfix/sbin'
const MASTER = `${PROGRAMS}/master`
const SASLPASSWD = '/usr/sbin/saslpasswd2'
/** Whoever the mail is delivered as. */
const NOBODY = 65_534

export interface PostfixOptions {
  /** Names and passwords; STARTTLS and a login are required then. */
  readonly users?: Readonly<Record<string, string>>
  /** The port on 127.0.0.1 that all mail is passed on to. */
  readonly relay?: number
  /** More lines of main.cf. */
  readonly settings?: Readonly<Record<string, string>>
}

export interface Postfix {
  readonly port: number
  /** Its configuration directory, for `sendmail -C` and its like. */
  readonly config: string
  /** The messages in the Maildir, as bytes. */
  mail(): Buffer[]
  /** Number of messages in its queue. */
  queued(): number
  log(): string
  stop(): Promise<void>
}

/** Why there can be no private Postfix here, or undefined if there can. */
export function postfixProblem(options: PostfixOptions = {}): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can start a private Postfix'
  if (!existsSync(MASTER)) return `${MASTER} is not there: install the Debian package postfix`
  if (options.users && !existsSync(SASLPASSWD))
    return `${SASLPASSWD} is not there: install the Debian packages sasl2-bin and libsasl2-modules`
  return undefined
}

export async function startPostfix(options: PostfixOptions = {}): Promise<Postfix> {
  const problem = postfixProblem(options)
  if (problem !== undefined) throw new Error(problem)
  const home = mkdtempSync(join(tmpdir(), 'postfix-'))
  const port = await freePort()
  const config = join(home, 'etc')
  const maildir = join(home, 'mail', 'inbox', 'new')
  lay(home, port, options)

  // A process group of its own, so that all of it can be ended.
  const master = spawn(MASTER, ['-c', config, '-d'], {
    env: { PATH: '/usr/sbin:/usr/bin:/bin' },
    detached: true,
    stdio: 'ignore',
  })
  const log = (): string => readIfThere(join(home, 'log'))
  const stop = async (): Promise<void> => {
    await endGroup(master)
    await removeDirectory(home)
  }
  try {
    await waitFor('Postfix to answer', () => {
      if (master.exitCode !== null) throw new Error(`Postfix ended with ${master.exitCode}`)
      return answers(port)
    })
  } catch (error) {
    const text = log()
    await stop()
    throw new Error(`Postfix did not start: ${error instanceof Error ? error.message : error}\n${text}`)
  }
  return {
    port,
    config,
    mail: () => namesIn(maildir).map(name => readFileSync(join(maildir, name))),
    queued: () =>
      ['maildrop', 'incoming', 'active', 'deferred', 'hold'].reduce(
        (sum, name) => sum + countFiles(join(home, 'queue', name)),
        0,
      ),
    log,
    stop,
  }
}

function lay(home: string, port: number, options: PostfixOptions): void {
  const [user, group] = idsOf('postfix')
  chmodSync(home, 0o755)
  for (const name of ['etc', 'etc/sasl', 'tls', 'queue', 'queue/pid']) mkdirSync(join(home, name))
  for (const name of ['data', ...QUEUES.map(queue => `queue/${queue}`)]) owned(join(home, name), 0o700, user, group)
  // Other processes of Postfix reach its sockets through these two.
  owned(join(home, 'queue', 'public'), 0o711, user, group)
  owned(join(home, 'mail'), 0o700, NOBODY, NOBODY)
  for (const name of ['key', 'cert'])
    copyFileSync(join(PROJECT, 'tests/support/tls', `${name}.pem`), join(home, 'tls', `${name}.pem`))
  chmodSync(join(home, 'tls', 'key.pem'), 0o600)
  if (options.users) addUsers(home, options.users, user)
  const main = {
    ...mainSettings(home),
    ...(options.users ? loginSettings(home) : {}),
    ...placeSettings(options),
    ...options.settings,
  }
  writeFileSync(
    join(home, 'etc', 'main.cf'),
    Object.entries(main)
      .map(([key, value]) => `${key} = ${value}\n`)
      .join(''),
  )
  writeFileSync(join(home, 'etc', 'master.cf'), `127.0.0.1:${port} inet n - n - 100 smtpd\n${SERVICES}`)
}

const QUEUES = [
  'incoming',
  'active',
  'deferred',
  'bounce',
  'defer',
  'corrupt',
  'flush',
  'hold',
  'trace',
  'saved',
  'maildrop',
  'private',
  'public',
]

/** name, type, private, unprivileged, chroot, wakeup, most processes, program */
const SERVICES = `
pickup    unix n - n 1 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
tlsmgr    unix - - n 1000? 1 tlsmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
error     unix - - n - - error
retry     unix - - n - - error
showq     unix n - n - - showq
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
`

function mainSettings(home: string): Record<string, string> {
  return {
    compatibility_level: '3.6',
    queue_directory: join(home, 'queue'),
    data_directory: join(home, 'data'),
    daemon_directory: PROGRAMS,
    maillog_file: join(home, 'log'),
    maillog_file_prefixes: home,
    syslog_name: 'postfix-test',
    myhostname: 'postfix.example.org',
    inet_interfaces: '127.0.0.1',
    inet_protocols: 'ipv4',
    mydestination: '',
    local_recipient_maps: '',
    alias_maps: '',
    alias_database: '',
    smtp_dns_support_level: 'disabled',
    smtp_host_lookup: 'native',
    // What arrives is what was sent.
    local_header_rewrite_clients: '',
    // Bare line ends are the other side's mistake, and a test wants to see it.
    smtpd_recipient_restrictions: 'permit_mynetworks, reject_unauth_destination',
    mynetworks: '127.0.0.0/8',
    smtpd_peername_lookup: 'no',
    smtpd_client_connection_count_limit: '0',
    message_size_limit: '0',
    mailbox_size_limit: '0',
    virtual_mailbox_limit: '0',
  }
}

function loginSettings(home: string): Record<string, string> {
  return {
    smtpd_tls_security_level: 'encrypt',
    smtpd_tls_cert_file: join(home, 'tls', 'cert.pem'),
    smtpd_tls_key_file: join(home, 'tls', 'key.pem'),
    smtpd_tls_received_header: 'yes',
    smtpd_sasl_auth_enable: 'yes',
    smtpd_sasl_type: 'cyrus',
    smtpd_sasl_path: 'smtpd',
    cyrus_sasl_config_path: join(home, 'etc', 'sasl'),
    smtpd_sasl_local_domain: 'localhost',
    smtpd_sasl_security_options: 'noanonymous',
    smtpd_sasl_authenticated_header: 'yes',
    smtpd_recipient_restrictions: 'permit_sasl_authenticated, reject',
    smtpd_relay_restrictions: 'permit_sasl_authenticated, reject',
  }
}

function placeSettings({ relay }: PostfixOptions): Record<string, string> {
  if (relay !== undefined) return { relayhost: `[127.0.0.1]:${relay}` }
  return {
    virtual_mailbox_domains: 'example.org',
    virtual_mailbox_maps: 'static:inbox/',
    virtual_mailbox_base: '$queue_directory/../mail',
    virtual_uid_maps: `static:${NOBODY}`,
    virtual_gid_maps: `static:${NOBODY}`,
  }
}

function addUsers(home: string, users: Readonly<Record<string, string>>, owner: number): void {
  const base = join(home, 'etc', 'sasldb2')
  for (const [name, password] of Object.entries(users)) {
    const { status, stderr } = spawnSync(SASLPASSWD, ['-p', '-c', '-f', base, '-u', 'localhost', name], {
      input: password,
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`saslpasswd2: ${stderr}`)
  }
  chownSync(base, owner, -1)
  const lines = [
    'pwcheck_method: auxprop',
    'auxprop_plugin: sasldb',
    `sasldb_path: ${base}`,
    'mech_list: PLAIN LOGIN CRAM-MD5',
  ]
  writeFileSync(join(home, 'etc', 'sasl', 'smtpd.conf'), `${lines.join('\n')}\n`)
}

function owned(path: string, mode: number, user: number, group: number): void {
  mkdirSync(path, { recursive: true })
  chmodSync(path, mode)
  chownSync(path, user, group)
}

function idsOf(user: string): [user: number, group: number] {
  const [, id, group] = new RegExp(`^${user}:[^:]*:(\\d+):(\\d+):`, 'm').exec(readFileSync('/etc/passwd', 'utf8')) ?? []
  if (id === undefined || group === undefined)
    throw new Error(`there is no user ${user}; install the Debian package postfix`)
  return [Number(id), Number(group)]
}

/** Ends a process and all that it has started: TERM, and KILL for what does not go. */
async function endGroup({ pid, exitCode }: ChildProcess): Promise<void> {
  if (pid === undefined || exitCode !== null) return
  signalGroup(pid, 'SIGTERM')
  const gone = (): boolean => !signalGroup(pid, 0)
  await waitFor('Postfix to end', gone, 5000).catch(() => {
    signalGroup(pid, 'SIGKILL')
    return waitFor('Postfix to be gone', gone)
  })
}

function signalGroup(leader: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-leader, signal)
    return true
  } catch {
    return false
  }
}

function countFiles(directory: string): number {
  return namesIn(directory).reduce((sum, name) => sum + (name.length === 1 ? countFiles(join(directory, name)) : 1), 0)
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
