/**
 * Postfix, as a private instance: its configuration, queue and data in a temporary directory, on loopback, relaying to a sink.
 * It needs root, as Postfix does. It ends with the benchmark.
 */
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import type { Bench } from '../command.ts'
import { submit } from './peers.ts'
import { findProgram, finish, freePort, listening, until } from './processes.ts'
import { FROM, TO } from './sample.ts'

export interface Postfix {
  /** Where it takes mail by SMTP. */
  readonly port: number
  /** Directs what it delivers to a port of this machine, over so many connections. */
  relayTo(port: number, connections: number): Promise<void>
  /** Hands it a message by its sendmail command. */
  sendmail(message: Buffer): Promise<void>
  /** Fills its deferred queue. */
  defer(count: number, size: number): Promise<void>
  /** Has it try all that is deferred. */
  flush(): Promise<void>
  /** True if none of its queues holds a message. */
  isEmpty(): boolean
}

/** @returns what is missing, in words, if there can be none */
export async function startPostfix(bench: Bench): Promise<Postfix | string> {
  const [postfix, sendmail] = [findProgram('postfix'), findProgram('sendmail')]
  if (postfix === undefined || sendmail === undefined) return 'Postfix is not installed'
  if (userInfo().uid !== 0) return 'Postfix runs only for root'

  const top = bench.newDirectory()
  chmodSync(top, 0o755)
  const [config, queue, data] = ['config', 'queue', 'data'].map(name => join(top, name)) as [string, string, string]
  for (const directory of [config, queue, data]) mkdirSync(directory, { mode: 0o755 })
  const port = await freePort()
  const defaults = postconf(['-d', 'daemon_directory', 'command_directory', 'mail_owner', 'setgid_group'])
  const owner = Number(execFileSync('id', ['-u', defaults.get('mail_owner')!], { encoding: 'utf8' }))
  chownSync(data, owner, owner)
  const settings = {
    compatibility_level: '3.6',
    queue_directory: queue,
    data_directory: data,
    daemon_directory: defaults.get('daemon_directory'),
    command_directory: defaults.get('command_directory'),
    mail_owner: defaults.get('mail_owner'),
    setgid_group: defaults.get('setgid_group'),
    maillog_file: join(top, 'mail.log'),
    maillog_file_prefixes: top,
    myhostname: 'bench.example.org',
    mydestination: '',
    inet_interfaces: '127.0.0.1',
    inet_protocols: 'ipv4',
    mynetworks: '127.0.0.0/8',
    smtpd_relay_restrictions: 'permit_mynetworks, reject',
    smtpd_client_connection_count_limit: '0',
    disable_dns_lookups: 'yes',
    smtp_host_lookup: 'native',
    smtp_tls_security_level: 'none',
    smtpd_tls_security_level: 'none',
    alias_maps: '',
    alias_database: '',
    relayhost: '[127.0.0.1]:9',
  }
  writeFileSync(
    join(config, 'main.cf'),
    Object.entries(settings)
      .map(([key, value]) => `${key} = ${value}\n`)
      .join(''),
  )
  writeFileSync(join(config, 'master.cf'), masterFile(port))

  const command = (args: string[]) => finish(bench, postfix, ['-c', config, ...args])
  bench.atEnd(() => {
    try {
      execFileSync(postfix, ['-c', config, 'abort'], { stdio: 'ignore' })
    } catch {}
  })
  await command(['start'])
  await listening(port)
  const configure = async (...changes: string[]) => {
    execFileSync(findProgram('postconf')!, ['-c', config, ...changes])
    const last = managers()
    await command(['reload'])
    // The one that has the old settings would take a flush, and defer everything again.
    await until('the queue manager to read its settings', () => !managers().some(pid => last.includes(pid)), 10)
  }
  /** Process ids of the queue manager: one, or two while one replaces the other. */
  const managers = (): string[] =>
    readdirSync('/proc').filter(pid => {
      try {
        return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'qmgr\n' && readlinkSync(`/proc/${pid}/cwd`) === queue
      } catch {
        return false
      }
    })
  const waiting = ['incoming', 'active', 'deferred', 'maildrop']
  return {
    port,
    relayTo: (to, connections) =>
      configure(
        `relayhost=[127.0.0.1]:${to}`,
        `default_destination_concurrency_limit=${connections}`,
        `initial_destination_concurrency=${connections}`,
        `default_process_limit=${Math.max(connections, 100)}`,
      ),
    sendmail: input => finish(bench, sendmail, ['-C', config, '-i', '-f', FROM, TO], { input }),
    async defer(count, size) {
      await configure('defer_transports=smtp')
      await submit(bench, { port, connections: 20, count, size })
      await until('Postfix to defer', () => ['incoming', 'active'].every(name => isEmpty(join(queue, name))), 50)
      await configure('defer_transports=')
    },
    flush: () => finish(bench, findProgram('postqueue')!, ['-c', config, '-f']),
    isEmpty: () => waiting.every(name => isEmpty(join(queue, name))),
  }
}

/** True if no file is in a directory, nor in its subdirectories. */
function isEmpty(directory: string): boolean {
  return readdirSync(directory, { withFileTypes: true }).every(
    entry => entry.isDirectory() && isEmpty(join(directory, entry.name)),
  )
}

function postconf(args: string[]): Map<string, string> {
  const text = execFileSync(findProgram('postconf')!, args, { encoding: 'utf8' })
  return new Map(text.split('\n').map(line => line.split(' = ', 2) as [string, string]))
}

/** The services that a relay needs; none of them in a chroot. Columns: private, unprivileged, chroot, wakeup, limit. */
const masterFile = (port: number): string => `
127.0.0.1:${port} inet n - n - - smtpd
pickup   unix n - n 60 1 pickup
cleanup  unix n - n - 0 cleanup
qmgr     unix n - n 300 1 qmgr
flush    unix n - n 1000? 0 flush
showq    unix n - n - - showq
rewrite  unix - - n - - trivial-rewrite
bounce   unix - - n - 0 bounce
defer    unix - - n - 0 bounce
trace    unix - - n - 0 bounce
verify   unix - - n - 1 verify
proxymap unix - - n - - proxymap
smtp     unix - - n - - smtp
error    unix - - n - - error
retry    unix - - n - - error
anvil    unix - - n - 1 anvil
scache   unix - - n - 1 scache
postlog  unix-dgram n - n - 1 postlogd
`
