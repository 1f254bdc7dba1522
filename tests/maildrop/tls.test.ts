/** Encryption: where it is required, nothing is sent without it, nor to a server that cannot show who it is. */
import { readFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Event, verdictOf } from '../../maildrop/delivery/outcome.ts'
import { openSession, SessionError } from '../../maildrop/delivery/session.ts'
import type { SmtpConfig } from '../../maildrop/smtp-config.ts'
import { PROJECT } from '../support/children.ts'
import { MESSAGE } from '../support/maildrop.ts'
import { outgoingOf } from '../support/outgoing.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'
import { type ScriptedServer, type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'

t.jobs = 3

const pem = (name: string): string => `${PROJECT}tests/support/tls/${name}.pem`

/** Tries to send one message; what happened, and what the server has seen. */
async function attempt(
  t: Test,
  script: SmtpScript,
  smtp: Partial<SmtpConfig>,
): Promise<{ event: Event; protection: string | undefined; server: ScriptedServer }> {
  const server = await startSmtpScript({ extensions: ['PIPELINING', 'STARTTLS', 'AUTH PLAIN'], ...script })
  t.teardown(() => server.close())
  const login = { user: 'ann', mechanism: 'auto', password: { from: 'value', value: 'hunter2' } } as const
  try {
    const session = await openSession(smtpConfigFor(server.port, { host: 'localhost', login, ...smtp }))
    t.teardown(() => session.abort('the test is over'))
    const { end } = await session.send({ from: '', to: ['ann@example.org'] }, outgoingOf(t, MESSAGE))
    return { event: end, protection: session.protection, server }
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    return { event: error.event, protection: undefined, server }
  }
}

/** Nothing was given away, and the destination is at fault, not the message. */
function refused(t: Test, { event, server }: { event: Event; server: ScriptedServer }, text: RegExp | string): void {
  t.match(event, { stage: 'tls', text })
  t.equal(verdictOf(event), 'defer-server')
  t.strictSame(server.logins, [])
  t.strictSame(
    server.commands.filter(line => /^(AUTH|MAIL)/.test(line)),
    [],
  )
}

for (const tls of ['required', 'implicit'] as const) {
  const base = { implicit: tls === 'implicit' }
  const own = (name: string): SmtpScript => ({ ...base, tls: { cert: readFileSync(pem(name)) } })
  const verified = { tls, tlsVerify: true }

  t.test(`${tls}: with a valid certificate the login and the message go over the encrypted connection`, async t => {
    const { event, protection, server } = await attempt(t, base, { ...verified, tlsCa: pem('cert') })
    t.match(event, { stage: 'dot', code: 250 })
    t.match(server.messages, [{ secure: true, user: 'ann' }])
    t.match(server.logins, [{ secure: true }])
    t.match(protection, 'TLSv1.3')
  })

  t.test(`${tls}: a certificate that is self-signed, has expired or is for another name`, async t => {
    refused(t, await attempt(t, base, verified), 'the certificate is self-signed and not trusted (DEPTH_ZERO_SELF')
    const expired = await attempt(t, own('expired'), { ...verified, tlsCa: pem('expired') })
    refused(t, expired, 'the certificate has expired (CERT_HAS_EXPIRED)')
    const other = await attempt(t, own('other-name'), { ...verified, tlsCa: pem('other-name') })
    refused(t, other, /the certificate is not for localhost: .*mail.example.org/)
  })

  t.test(`${tls}: any certificate does when they are not to be checked`, async t => {
    const { event, server } = await attempt(t, own('expired'), { tls, tlsVerify: false })
    t.match(event, { stage: 'dot', code: 250 })
    t.match(server.messages, [{ secure: true }])
  })

  t.test(`${tls}: a server without a version of TLS that is new enough`, async t => {
    const old: SmtpScript = { ...base, tls: { maxVersion: 'TLSv1.2' } }
    const attempted = await attempt(t, old, { ...verified, tlsCa: pem('cert'), tlsMin: 'TLSv1.3' })
    refused(t, attempted, /no version of TLS in common|TLS failed|broke off the TLS handshake/)
    const { protection } = await attempt(t, old, { ...verified, tlsCa: pem('cert') })
    t.equal(protection, 'TLSv1.2')
  })
}

t.test('a file of certificates that cannot be read', async t => {
  refused(
    t,
    await attempt(t, {}, { tls: 'required', tlsVerify: true, tlsCa: '/nowhere/ca.pem' }),
    'cannot read MAILDROP_TLS_CA /nowhere/ca.pem: ENOENT',
  )
})

t.test(
  'STARTTLS that is not offered where it is required, because the server has none or somebody took it away',
  async t => {
    const { server, ...attempted } = await attempt(t, { extensions: ['AUTH PLAIN'] }, { tls: 'required' })
    refused(t, { server, ...attempted }, /^the server does not offer STARTTLS, which MAILDROP_TLS requires: /)
  },
)

t.test('STARTTLS that is offered and refused', async t => {
  const script: SmtpScript = { starttls: () => '454 4.7.0 not now' }
  const attempted = await attempt(t, script, { tls: 'required' })
  refused(t, attempted, 'the server offers STARTTLS, but does not do it: not now')
  t.match(attempted.event, { code: 454, enhanced: '4.7.0' })
  // Where it is not required the message goes in the clear, but no password: somebody may want just that.
  const offered = await attempt(t, script, { tls: 'offered' })
  t.match(offered.event, { stage: 'login', text: /^the server offers no login/ })
  t.strictSame(offered.server.logins, [])
  const { event, server } = await attempt(t, script, { tls: 'offered', login: undefined })
  t.match(event, { stage: 'dot', code: 250 })
  t.match(server.messages, [{ secure: false }])
})

t.test('bytes that somebody puts behind the answer to STARTTLS', async t => {
  for (const injected of ['250-evil\r\n250 AUTH PLAIN\r\n', '250 ', '\r\n250 8BITMIME'])
    for (const tls of ['offered', 'required'] as const) {
      const starttls = () => ({ raw: `220 go on\r\n${injected}`, next: 'hang' }) as const
      const attempted = await attempt(t, { starttls }, { tls })
      refused(t, attempted, /^\d+ bytes came unencrypted behind the answer to STARTTLS/)
    }
})

t.test('a server that does not speak TLS where it should', async t => {
  const plain = await attempt(t, {}, { tls: 'implicit', tlsVerify: true })
  refused(t, plain, /^the server does not speak TLS here/)
  const broken = await attempt(
    t,
    { starttls: () => ({ raw: '220 go on\r\n', next: { heard: { raw: 'no\r\n'.repeat(5) } } }) },
    { tls: 'required' },
  )
  refused(t, broken, /^the server does not speak TLS here/)
})

t.test('with certificates always checked, encryption that is only offered is checked too', async t => {
  refused(t, await attempt(t, {}, { tls: 'offered', tlsVerify: true }), /self-signed/)
})
