/**
 * nullmailer, unpacked somewhere: its Debian package conflicts with Postfix's, but needs no installation:
 *
 *     apt-get download nullmailer && dpkg -x nullmailer_*.deb /tmp/nullmailer      --nullmailer /tmp/nullmailer
 */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bench } from '../command.ts'
import type { Load } from './peers.ts'
import { start, until } from './processes.ts'
import { FROM, message, TO } from './sample.ts'

export interface Nullmailer {
  /** Fills its queue and lets it send; one process and one connection per message, as it does. @returns seconds */
  drain(load: Omit<Load, 'connections'>): Promise<number>
}

/** @returns undefined if it is not there */
export function findNullmailer(bench: Bench, root: string): Nullmailer | undefined {
  const program = join(root, 'usr/sbin/nullmailer-send')
  if (root === '' || !existsSync(program)) return undefined
  return {
    async drain({ count, size, port }) {
      const top = bench.newDirectory()
      const queue = join(top, 'queue')
      for (const directory of ['queue/queue', 'queue/tmp', 'queue/failed', 'conf'])
        mkdirSync(join(top, directory), { recursive: true })
      execFileSync('mkfifo', [join(queue, 'trigger')])
      symlinkSync(join(root, 'usr/lib/nullmailer'), join(top, 'protocols'))
      writeFileSync(join(top, 'mailname'), 'bench.example.org\n')
      writeFileSync(join(top, 'conf/remotes'), `127.0.0.1 smtp --port=${port}\n`)
      const content = Buffer.concat([Buffer.from(`${FROM}\n${TO}\n\n`), message(size)])
      for (let i = 0; i < count; i++) writeFileSync(join(queue, 'queue', `1.${i}`), content)
      const begun = performance.now()
      const running = start(bench, program, [], { env: { NULLMAILER_TEST_PREFIX: top }, cwd: queue })
      await until('nullmailer', () => readdirSync(join(queue, 'queue')).length === 0, 20)
      const seconds = (performance.now() - begun) / 1000
      running.process.kill('SIGKILL')
      await running.ended
      rmSync(top, { recursive: true })
      return seconds
    },
  }
}
