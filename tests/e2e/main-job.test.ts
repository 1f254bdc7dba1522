/** The main job with the real programs: page → transaction → spool → start_maildrop → SMTP with STARTTLS and a login. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { simpleParser } from 'mailparser'
import t from 'tap'
import { MaildropHost, openDatabase, Template } from '../../objects/index.ts'
import { startInbox } from '../support/inbox.ts'
import { directory, program } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'

const TLS = fileURLToPath(new URL('../support/tls', import.meta.url))

const PAGE = `<h1>Thank you, <<customer.name>></h1>
<<#sendmail mailhost="XYZ" mailto=customer.email subject="Your order">>
From: "The shop" <shop@example.org>
X-Order: <<number>>

Dear <<customer.name>>,
<<#each items>>
* <<this>>
<</each>>
<</sendmail>>
`
const DATA = { number: 7, customer: { name: "O'Brien & Söhne", email: 'ann@example.org' }, items: ['Tea <pot>', 'Cup'] }

t.test('a page sends mail that arrives over STARTTLS after a login, and the log says so', async t => {
  const [key, cert] = await Promise.all(['key.pem', 'cert.pem'].map(file => readFile(join(TLS, file))))
  const inbox = await startInbox({
    key: key!,
    cert: cert!,
    authOptional: false,
    onAuth: ({ username, password }, _session, done) =>
      username === 'shop' && password === 'se"cret'
        ? done(null, { user: username })
        : done(new Error('wrong password')),
  })
  t.teardown(() => inbox.close())
  const cwd = await directory(t)
  const config = join(cwd, 'maildrop.conf')
  await writeFile(
    config,
    `MAILDROP_HOME="${cwd}/mail"\nSMTP_HOST="localhost"\nSMTP_PORT="${inbox.port}"\nMAILDROP_TLS="2"\nMAILDROP_TLS_CA="${TLS}/cert.pem"\nMAILDROP_LOGIN="shop"\nMAILDROP_PASSWORD='se"cret'\n`,
    { mode: 0o600 },
  )
  const env = { MAILDROP_CONFIG: config }
  const started = await program(cwd, 'maildrop/bin/start_maildrop', [], env)
  t.equal(started.code, 0, started.stderr)
  t.teardown(() => program(cwd, 'maildrop/bin/stop_maildrop', [], env))
  t.equal((await program(cwd, 'maildrop/bin/maildropctl', ['configtest'], env)).code, 0)

  const db = await openDatabase(join(cwd, 'objects'), { maildropConfig: config })
  t.teardown(() => db.close())
  await db.transact(app => {
    app.create('/shop/XYZ', new MaildropHost(), { parents: true })
    app.create('/shop/pages/thanks', new Template(PAGE), { parents: true })
  })
  const page = await db.transact(app => app.traverse('/shop/pages/thanks', Template).render(DATA))
  t.match(page, '<h1>Thank you, O&#x27;Brien &amp; Söhne</h1>')
  t.notMatch(page, 'Dear')
  await waitFor('the mail', async () => inbox.messages.length > 0)
  const [mail] = inbox.messages
  t.same([mail!.secure, mail!.user, mail!.from, mail!.to], [true, 'shop', 'shop@example.org', ['ann@example.org']])
  const parsed = await simpleParser(mail!.text)
  t.equal(parsed.subject, 'Your order')
  t.equal(parsed.headers.get('x-order'), '7')
  t.equal(parsed.text?.trim(), "Dear O'Brien & Söhne,\n* Tea <pot>\n* Cup")

  await t.rejects(
    db.transact(async app => {
      await app.traverse('/shop/pages/thanks', Template).render(DATA)
      throw new Error('the page failed after all')
    }),
  )
  const stopped = await program(cwd, 'maildrop/bin/stop_maildrop', [], env)
  t.equal(stopped.code, 0, stopped.stderr)
  t.equal(inbox.messages.length, 1, 'the page that failed sent nothing')
  const log = await readFile(join(cwd, 'mail', 'var', 'maildrop.log'), 'utf8')
  t.match(log, /^\S+ sent id=\S+ to=ann@example\.org from=shop@example\.org /m)
  t.notMatch(log, 'se"cret')
})

t.test('the command line alone does the main job', async t => {
  const inbox = await startInbox()
  t.teardown(() => inbox.close())
  const cwd = await directory(t)
  const env = { SMTP_HOST: '127.0.0.1', SMTP_PORT: `${inbox.port}`, MAILDROP_TLS: '0' }
  const ok = async (name: string, args: string[], input = '') => {
    const { code, stdout, stderr } = await program(cwd, name, args, env, input)
    t.equal(code, 0, `${name} ${args.join(' ')}: ${stderr}`)
    return stdout
  }
  await ok('bin/objtree', ['init'])
  await ok('bin/objtree', ['add', 'MaildropHost', '/mail/XYZ', '--parents'])
  await ok('maildrop/bin/start_maildrop', [])
  t.teardown(() => program(cwd, 'maildrop/bin/stop_maildrop', [], env))
  const id = await ok(
    'bin/objtree',
    ['send', '/mail/XYZ', '--to', 'a@example.org,b@example.org', '--from', 'me@example.org'],
    'Subject: One\n\nText\n',
  )
  await waitFor('the first mail', async () => inbox.messages.length === 1)
  t.match(inbox.messages[0], { to: ['a@example.org', 'b@example.org'], text: new RegExp(`Message-ID: ${id.trim()}`) })

  await writeFile(join(cwd, 'page.hbs'), PAGE)
  await writeFile(join(cwd, 'data.json'), JSON.stringify(DATA))
  t.match(
    await ok('bin/objtree', ['render', 'page.hbs', '--data', '@data.json', '--context', '/mail']),
    '<h1>Thank you',
  )
  await waitFor('the second mail', async () => inbox.messages.length === 2)
  t.equal((await simpleParser(inbox.messages[1]!.text)).headers.get('x-order'), '7')
  t.match(await ok('maildrop/bin/maildropctl', ['status']), /running/)
  await ok('maildrop/bin/maildropctl', ['stop'])
})
