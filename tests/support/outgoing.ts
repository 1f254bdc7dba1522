/** Messages for a session of a test's own. */
import { closeSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type Outgoing, outgoing } from '../../maildrop/delivery/outgoing.ts'
import { inspect, type ReadyMail } from '../../maildrop/spool/inspect.ts'
import { removeDirectory } from './program.ts'

/** A mail file with these bytes behind its `##` lines, open until the test ends. */
export function mailOf(t: Test, bytes: string | Uint8Array): ReadyMail {
  const directory = mkdtempSync(join(tmpdir(), 'maildrop-mail-'))
  t.teardown(() => removeDirectory(directory))
  writeFileSync(
    join(directory, 'mail'),
    Buffer.concat([Buffer.from('##To:a@example.org\n##From:b@example.org\n'), bytesOf(bytes)]),
  )
  const found = inspect(directory, 'mail', true)
  if (found.kind !== 'ready') throw new Error(`the mail is ${found.kind}`)
  t.teardown(() => closeSync(found.mail.fd))
  return found.mail
}

export function outgoingOf(t: Test, bytes: string | Uint8Array): Outgoing {
  const out = outgoing(mailOf(t, bytes), {
    id: 'test',
    repeated: false,
    messageId: undefined,
    beforeDot: () => undefined,
  })
  if ('problem' in out) throw new Error(out.problem)
  return out
}

function bytesOf(bytes: string | Uint8Array): Uint8Array {
  return typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
}
