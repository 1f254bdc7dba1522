/** `maildropctl configtest` against servers and directories of every kind: what it finds, and what it says to change. */

import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { launch, PROJECT } from '../support/children.ts'
import { diskProblem, mountSmallDisk } from '../support/disk.ts'
import { type Environment, failsWith, setUp } from '../support/launchers.ts'
import { namesIn } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'

// Most of the time is waiting.
t.jobs = 3

const TLS = join(PROJECT, 'tests', 'support', 'tls')
const pem = (name: string): string => readFileSync(join(TLS, `${name}.pem`), 'utf8')
const LOGIN = { MAILDROP_LOGIN: 'ann', MAILDROP_PASSWORD: 'hunter2' }
const USERS = { users: { ann: 'hunter2' } }

/** What configtest says with a server of this kind. */
async function against(t: Test, script: SmtpScript, env: Environment = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const { run } = await setUp(t)
  const ended = await run('maildropctl', ['configtest'], { SMTP_PORT: `${server.port}`, ...env })
  t.notMatch(ended.stdout + ended.stderr, 'hunter2')
  t.strictSame(server.messages, [])
  t.notOk(
    server.commands.some(command => command.startsWith('MAIL')),
    'nothing is sent',
  )
  // Of the port that a test has to use is warned.
  return { ended: { ...ended, stderr: ended.stderr.replace(/^.*: warning: MAILDROP_TLS is .*\n/m, '') }, server }
}

t.test('a good configuration is shown with what it means', async t => {
  const { run, cwd, home, spool, server } = await setUp(t)
  const config = join(PROJECT, 'maildrop', 'config')
  const { end, stdout, stderr } = await run('maildropctl', ['configtest'])
  t.match({ end, stderr }, { end: 0, stderr: '' })
  const places = `spool   ${spool} is not there yet; it will be made\nvar     ${home}/var is not there yet; it will be made\n`
  const answers = `server  127.0.0.1:${server.port} answers; connection: plain; login: none\n`
  t.equal(stdout, `config  ${config}: no errors\n${places}${answers}`)
  t.strictSame(namesIn(cwd), [], 'nothing was made')
  t.match(await run('start_maildrop'), { end: 0 })
  const started = await run('maildropctl', ['configtest'])
  t.match(started, { end: 0, stdout: `spool   ${spool} can be written, and is one file system\n` })
  const { stdout: text } = await run('maildropctl', ['configtest', '--json'])
  t.match(JSON.parse(text), {
    ok: true,
    checks: [
      { what: 'config', where: config, ok: true },
      { what: 'spool', where: spool, ok: true },
      { what: 'var', where: join(home, 'var'), ok: true },
      { what: 'server', where: `127.0.0.1:${server.port}`, ok: true },
    ],
  })
  await run('stop_maildrop')
  t.equal(server.commands.filter(command => !/^(EHLO|QUIT)/.test(command)).length, 0)
})

t.test('with a login it logs in, and says what is unsafe', async t => {
  const extensions = ['AUTH PLAIN']
  const plain = await against(t, { extensions, ...USERS }, LOGIN)
  t.match(plain.ended, {
    end: 0,
    stdout: /login: as ann\n {8}the password travels unencrypted; .*MAILDROP_TLS to 2\n$/,
  })
  const encrypted = { MAILDROP_TLS: '2', MAILDROP_TLS_CA: join(TLS, 'cert.pem'), SMTP_HOST: 'localhost' }
  const safe = await against(t, { extensions: ['STARTTLS', ...extensions], ...USERS }, { ...LOGIN, ...encrypted })
  t.match(safe.ended, { end: 0, stdout: /connection: TLSv1\.3; login: as ann\n$/, stderr: '' })
  const implicit = await against(
    t,
    { extensions, implicit: true, ...USERS },
    { ...LOGIN, ...encrypted, MAILDROP_TLS: 'implicit' },
  )
  t.match(implicit.ended, { end: 0, stdout: /connection: TLSv1\.3; login: as ann\n$/, stderr: '' })
})

const required = { MAILDROP_TLS: '2', SMTP_HOST: 'localhost', MAILDROP_TLS_CA: join(TLS, 'cert.pem') }

/** A server, a configuration, and what is said. */
const TROUBLES: Record<string, [SmtpScript, Environment, RegExp]> = {
  'a password that is refused': [
    { extensions: ['AUTH PLAIN'], ...USERS },
    { ...LOGIN, MAILDROP_PASSWORD: 'hunter3' },
    /: 535 .*; check MAILDROP_LOGIN and MAILDROP_PASSWORD\n/,
  ],
  'a file with the password that is not there': [
    { extensions: ['AUTH PLAIN'] },
    { MAILDROP_LOGIN: 'ann', MAILDROP_PASSWORD_FILE: '/nowhere' },
    /cannot read MAILDROP_PASSWORD_FILE \/nowhere: ENOENT; correct MAILDROP_PASSWORD_FILE, or what it names: the server was not asked/,
  ],
  'a command for the password that fails': [
    { extensions: ['AUTH PLAIN'] },
    { MAILDROP_LOGIN: 'ann', MAILDROP_PASSWORD_COMMAND: '/bin/false' },
    /MAILDROP_PASSWORD_COMMAND \/bin\/false failed with .*; correct MAILDROP_PASSWORD_COMMAND, or what it names/,
  ],
  'no login offered': [
    {},
    LOGIN,
    /offers no login \(AUTH\), but MAILDROP_LOGIN is set; see MAILDROP_AUTH, and MAILDROP_TLS/,
  ],
  'a login that wants TLS': [
    { extensions: ['AUTH PLAIN'], auth: () => '538 5.7.11 encryption required' },
    LOGIN,
    /: 538 5\.7\.11 .*; the server wants TLS first: set MAILDROP_TLS to 2\n/,
  ],
  'a login server that is down': [
    { extensions: ['AUTH PLAIN'], auth: () => '454 4.7.0 no database' },
    LOGIN,
    /: 454 4\.7\.0 .*; the server cannot check the login at the moment; try again later\n/,
  ],
  'no STARTTLS where it is required': [{}, required, /does not offer STARTTLS.*; MAILDROP_TLS="2" needs STARTTLS/],
  'TLS on a port that is spoken to in plain text': [
    { implicit: true },
    {},
    /; the server begins with TLS on this port: set MAILDROP_TLS="implicit"\n/,
  ],
  'plain text on a port that is spoken to with TLS': [
    { extensions: ['STARTTLS'] },
    { ...required, MAILDROP_TLS: 'implicit' },
    /the server does not speak TLS here .*; the server begins in plain text on this port: set MAILDROP_TLS="2" for STARTTLS/,
  ],
  'a certificate that is self-signed': [
    { extensions: ['STARTTLS'] },
    { ...required, MAILDROP_TLS_CA: '' },
    /is self-signed and not trusted .*; .* into MAILDROP_TLS_CA; openssl s_client -starttls smtp -showcerts -connect localhost:\d+ prints it\n/,
  ],
  'a certificate of another name': [
    { extensions: ['STARTTLS'], tls: { key: pem('key'), cert: pem('other-name') } },
    { ...required, MAILDROP_TLS_CA: join(TLS, 'other-name.pem') },
    /the certificate is not for localhost: .*; set SMTP_HOST to a name that is in the certificate\n/,
  ],
  'a certificate that has expired': [
    { extensions: ['STARTTLS'], tls: { key: pem('key'), cert: pem('expired') } },
    { ...required, MAILDROP_TLS_CA: join(TLS, 'expired.pem') },
    /the certificate has expired .*; the server's certificate has to be renewed/,
  ],
  'a file of certificates that is not there': [
    { extensions: ['STARTTLS'] },
    { ...required, MAILDROP_TLS_CA: '/nowhere' },
    /cannot read MAILDROP_TLS_CA \/nowhere: ENOENT; correct MAILDROP_TLS_CA/,
  ],
  'a file of certificates that has none': [
    { extensions: ['STARTTLS'] },
    { ...required, MAILDROP_TLS_CA: join(PROJECT, 'package.json') },
    /MAILDROP_TLS_CA .*package\.json has no certificate in it; correct MAILDROP_TLS_CA, which has to be a PEM file/,
  ],
  'a server that wants nothing of this client': [
    { greeting: () => '554 5.7.1 no mail from you' },
    {},
    /: 554 5\.7\.1 no mail from you; the server refuses this client; ask its administrator\n/,
  ],
}

for (const [what, [script, env, said]] of Object.entries(TROUBLES)) {
  t.test(`${what}: it says what to change`, async t => {
    const { ended } = await against(t, script, env)
    failsWith(t, ended, 1, said)
  })
}

t.test('a server that is not there, or is none, is told from one another', async t => {
  const { run } = await setUp(t)
  const test = (env: Environment) => run('maildropctl', ['configtest'], env)
  // A port that was free a moment ago may be another test's by now.
  const closed = { SMTP_PORT: '1' }
  failsWith(
    t,
    await test(closed),
    1,
    /ECONNREFUSED.*; is the server running, and are SMTP_HOST and SMTP_PORT right\?\n/,
  )
  const nowhere = await test({ SMTP_HOST: 'no-such-host.invalid' })
  failsWith(t, nowhere, 1, /(ENOTFOUND.*; no such name: is SMTP_HOST right\?|EAI_AGAIN.*; names cannot be looked up)/)
  const sockets: Socket[] = []
  const web = createServer(socket => {
    sockets.push(socket.on('error', () => undefined))
    socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
  })
  await new Promise<Server>(resolve => web.listen(0, '127.0.0.1', () => resolve(web)))
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    web.close()
  })
  const { port } = web.address() as { port: number }
  failsWith(t, await test({ SMTP_PORT: `${port}` }), 1, /does an SMTP server listen on SMTP_PORT\?/)
})

t.test('every mistake in the configuration is told, on a line of its own', async t => {
  const { run, cwd } = await setUp(t)
  const file = join(cwd, 'wrong')
  writeFileSync(file, 'SMTP_PROT=25\nMAILDROP_BOUNCE=9\nMAILDROP_LOGIN=ann\nMAILDROP_PASSWORD=$hunter2\n')
  const said = [
    [`${file}:1`, 'unknown key SMTP_PROT; did you mean SMTP_PORT?'],
    [`${file}:2`, 'MAILDROP_BOUNCE is "9"; expected 0 or 1'],
    [`${file}:4`, 'the line of MAILDROP_PASSWORD is not an assignment; expected KEY="value", '],
    ['environment', 'MAILDROP_BATCH is "-1"; expected a whole number of messages from 0 to 1000000'],
  ]
  const env = { MAILDROP_CONFIG: file, MAILDROP_BATCH: '-1' }
  for (const [name, args] of [
    ['start_maildrop', []],
    ['maildropctl', ['start']],
    ['maildropctl', ['reload']],
    ['maildropctl', ['status']],
    ['maildropctl', ['configtest', '--json']],
  ] as const) {
    const { end, stdout, stderr } = await run(name, args, env)
    t.equal(end, 1)
    const lines = stderr.trimEnd().split('\n')
    t.equal(lines.length, said.length, stderr)
    for (const [index, [where, text]] of said.entries())
      t.ok(lines[index]?.startsWith(`${name}: ${where}: ${text}`), `${lines[index]}`)
    t.notMatch(stdout + stderr, 'hunter2')
    if (args.at(-1) !== '--json') continue
    const { ok, checks } = JSON.parse(stdout)
    t.equal(ok, false)
    for (const [index, [where, text = '']] of said.entries()) {
      t.match(checks[index], { what: 'config', where, ok: false })
      t.ok(checks[index].text.startsWith(text), checks[index].text)
    }
  }
})

t.test('every server is tested, and every trouble is told', async t => {
  const { run, server } = await setUp(t)
  const other = await startSmtpScript({ greeting: () => '554 go away' })
  t.teardown(() => other.close())
  const env = { MAILDROP_RELAYS: `127.0.0.1:${other.port}`, MAILDROP_ON_FAILURE: '/nowhere/hook' }
  const { end, stdout, stderr } = await run('maildropctl', ['configtest'], env)
  t.equal(end, 1)
  t.match(stdout, `server  127.0.0.1:${server.port} answers`)
  t.match(stderr, /^maildropctl: \/nowhere\/hook: it is not there; correct MAILDROP_ON_FAILURE\n/)
  t.match(stderr, /\nmaildropctl: 127\.0\.0\.1:\d+: 554 go away; the server refuses this client; .*\n$/)
  const json = await run('maildropctl', ['configtest', '--json'], env)
  const { ok, checks } = JSON.parse(json.stdout)
  t.equal(ok, false)
  t.strictSame(
    checks.filter((check: { ok: boolean }) => !check.ok).map((check: { what: string }) => check.what),
    ['hook', 'server'],
  )
})

t.test('directories that cannot be used are told with what to do', async t => {
  const { run, cwd, home, spool, server } = await setUp(t)
  const test = (env: Environment = {}) => run('maildropctl', ['configtest'], env)
  writeFileSync(join(cwd, 'file'), '')
  failsWith(t, await test({ MAILDROP_SPOOL: 'file' }), 1, /\/file: it is no directory; move it away/)
  failsWith(t, await test({ MAILDROP_SPOOL: 'file/x' }), 1, /\/file: it is no directory; move it away/)
  failsWith(t, await test({ MAILDROP_METRICS: 'none/x.prom' }), 1, /\/none: it is not there; make it/)
  failsWith(t, await test({ MAILDROP_LOG_FILE: '.' }), 1, /: it is a directory, where a file is needed; move it away/)
  failsWith(t, await test({ MAILDROP_PID_FILE: '.' }), 1, /: it is a directory, where a file is needed; move it away/)
  const { port } = server
  failsWith(t, await test({ MAILDROP_METRICS: `${port}` }), 1, /another process has that port; set MAILDROP_METRICS to/)
  writeFileSync(join(cwd, 'hook'), '')
  failsWith(
    t,
    await test({ MAILDROP_ON_FAILURE: join(cwd, 'hook') }),
    1,
    /\/hook: it cannot be run by this user; run: chmod \+x/,
  )
  mkdirSync(spool, { recursive: true })
  chmodSync(spool, 0o755)
  t.match(await test(), { end: 0, stdout: `other users may look into it\n        run: chmod 700 ${spool}\n` })
  t.equal(namesIn(home).length, 1)
})

t.test(
  'as another user it says whose the directories are',
  needs(process.getuid?.() === 0 ? undefined : 'only root can be another user'),
  async t => {
    const { cwd, home, spool, server } = await setUp(t)
    mkdirSync(spool, { recursive: true })
    chmodSync(spool, 0o700)
    for (const path of [cwd, join(cwd, 'data'), home]) chmodSync(path, 0o755)
    const as = (user: number) =>
      launch(t, 'tests/support/configtest-as.ts', [`${user}`], {
        cwd,
        env: {
          MAILDROP_HOME: home,
          MAILDROP_VAR: '/tmp',
          SMTP_HOST: '127.0.0.1',
          SMTP_PORT: `${server.port}`,
          MAILDROP_TLS: '0',
        },
      }).ended
    t.match(await as(65_534), {
      end: 1,
      stderr: `${spool}: this user (65534) may not write it; its owner is user 0, its mode 700; run as its owner`,
    })
    chownSync(spool, 65_534, 65_534)
    t.match(await as(0), { end: 0, stdout: 'it belongs to user 65534; run configtest as that user' })
  },
)

t.test('a spool of two file systems is told', needs(diskProblem()), async t => {
  const { run, spool } = await setUp(t)
  mkdirSync(spool, { recursive: true, mode: 0o700 })
  mountSmallDisk(t, join(spool, '.deferred'))
  const ended = await run('maildropctl', ['configtest'])
  failsWith(t, ended, 1, /\/\.deferred: it is another file system than .*; mail moves by renames/)
})

t.test('with DKIM it says what to publish, or what is wrong with the key', async t => {
  const { run, cwd } = await setUp(t)
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  writeFileSync(join(cwd, 'key'), privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 })
  const env = { MAILDROP_DKIM_DOMAIN: 'example.org', MAILDROP_DKIM_SELECTOR: 'x', MAILDROP_DKIM_KEY_FILE: 'key' }
  t.match(await run('maildropctl', ['configtest'], env), {
    end: 0,
    stdout: /\ndkim {4}x\._domainkey\.example\.org TXT "v=DKIM1; k=rsa; p=\S+" has to be published/,
  })
  writeFileSync(join(cwd, 'key'), 'none')
  failsWith(
    t,
    await run('maildropctl', ['configtest'], env),
    1,
    /; an RSA key is made by: openssl genrsa -out FILE 2048\n/,
  )
})
