/** Mail to a server that a page names: through the spool of that relay, as transactional as any, and only to servers that are allowed. */
import { existsSync, writeFileSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Application, openDatabase, preview, renderFile, Template } from '../../objects/index.ts'
import { mailSystemOf } from '../../objects/mail-system.ts'
import { newLevel } from '../support/database.ts'
import { mailsIn, testMaildrop } from '../support/maildrop.ts'
import { directory } from '../support/program.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

/** A database without any mail host, whose configuration allows the relay `news.example:2525`. */
async function place(t: Test) {
  const home = await directory(t)
  const file = join(home, 'config')
  writeFileSync(file, `MAILDROP_HOME=${home}\nSMTP_HOST=Smtp.example\nMAILDROP_RELAYS="news.example:2525;[::1]:26"\n`)
  delete process.env.MAILDROP_HOME
  const db = await openDatabase(newLevel(), { maildropConfig: file })
  t.teardown(() => db.close())
  const render = (source: string, data: Record<string, unknown> = {}, options = {}) =>
    db.transact(app => {
      const page = (app.get('page') as Template | undefined) ?? app.create('/page', new Template())
      page.source = source
      return page.render(data, options)
    })
  const spool = join(home, 'spool')
  const subjects = async (relay = '') => {
    await mailSystemOf(db).publisher.settled()
    const directory = relay === '' ? spool : join(spool, '.relays', relay)
    return existsSync(directory) ? mailsIn(directory).map(mail => /^Subject: (.*?)\r$/m.exec(mail)?.[1]) : []
  }
  return { db, home, render, subjects }
}

const block = (attributes: string, subject = '<<s>>') =>
  `<<#sendmail ${attributes}>>\nFrom: a@example.org\nTo: b@example.org\nSubject: ${subject}\n\nx\n<</sendmail>>`

t.test('a block may name the usual server or a relay, in any case, with literals or values', async t => {
  const { render, subjects } = await place(t)
  const data = { host: 'News.Example', port: 2525, s: 'by value' }
  await render(block('smtphost="smtp.example"', 'usual'))
  await render(block('smtphost="SMTP.example" port=25', 'usual with port'))
  await render(block('smtphost="news.example" port=2525', 'relay'))
  await render(block('smtphost="news.example" port="2525"', 'port as text'))
  await render(block('smtphost=host port=port'), data)
  await render(block('smtphost="::1" port=26', 'IPv6'))
  t.same(await subjects(), ['usual', 'usual with port'])
  t.same(await subjects('news.example:2525'), ['relay', 'port as text', 'by value'])
  t.same(await subjects('[::1]:26'), ['IPv6'])
})

t.test('any other server is refused, at its place, and nothing is sent', async t => {
  const { render, subjects } = await place(t)
  for (const attributes of ['smtphost="evil.example"', 'smtphost="news.example"', 'smtphost="smtp.example" port=26'])
    await t.rejects(
      render(`${block('smtphost="smtp.example"', 'before')}\n${block(attributes)}`),
      {
        code: 'NO_MAIL_HOST',
        message:
          /^\/page:8:1: sendmail: smtphost: .*:\d+ is not allowed; allowed: Smtp\.example:25, news\.example:2525, \[::1\]:26/,
      },
      attributes,
    )
  const strange: Record<string, unknown>[] = [
    { host: '' },
    { host: 'a b' },
    { host: '../..' },
    { host: 'news.example:2525' },
  ]
  for (const data of strange)
    await t.rejects(render(block('smtphost=host'), data), { code: 'NO_MAIL_HOST' }, JSON.stringify(data))
  const server = { host: 'news.example', port: 2525 }
  await t.rejects(render(block('smtphost=server'), { server }), { code: 'TEMPLATE_RENDER' })
  await t.rejects(render(block('mailhost=server'), { server }), { code: 'NO_MAIL_HOST' }, 'data are no server')
  await t.rejects(render(block('smtphost="news.example" port=p'), { p: 'x' }), {
    code: 'TEMPLATE_RENDER',
    message: /port: expected a whole number from 1 to 65535, found "x"/,
  })
  t.same(await subjects(), [])
  t.same(await subjects('news.example:2525'), [])
})

t.test('what is wrong with the attributes is found when the template is stored', async t => {
  const wrong: [string, string, RegExp][] = [
    ['smtphost="x" mailhost="y"', 'TEMPLATE_SYNTAX', /expected one mail host/],
    ['"y" smtphost="x"', 'TEMPLATE_SYNTAX', /expected one mail host/],
    ['"y" port=25', 'TEMPLATE_SYNTAX', /port goes with smtphost/],
    ['smtphost="x" port=0', 'TEMPLATE_SYNTAX', /port: expected a whole number/],
    ['smtphost="x" port="smtp"', 'TEMPLATE_SYNTAX', /port: expected a whole number/],
    ['smtphost="x" port=true', 'TEMPLATE_SYNTAX', /port: expected a whole number/],
    ['smtphost=""', 'NO_MAIL_HOST', /the name of a server/],
    ['smtphost=7', 'NO_MAIL_HOST', /the name of a server/],
    ['port=25', 'NO_MAIL_HOST', /or an SMTP server, smtphost="NAME", found none/],
  ]
  for (const [attributes, code, message] of wrong)
    t.throws(() => new Template(block(attributes)), { code, message }, attributes)
})

t.test('it is part of the transaction, has keys, and shows itself in a preview', async t => {
  const { db, home, render, subjects } = await place(t)
  const relay = 'smtphost="news.example" port=2525'
  await t.rejects(render(`${block(relay, 'failing page')}<<> missing>>`))
  await t.rejects(
    db.transact(async app => {
      await app.create('/other', new Template(block(relay, 'aborted'))).render()
      throw new Error('no')
    }),
    /no/,
  )
  await render(block(`${relay} key="k"`, 'first'))
  await render(block(`${relay} key="k"`, 'again'))
  await render(block('smtphost="smtp.example" key="k"', 'another server has keys of its own'))
  const { messages, deliver } = preview()
  await render(block(relay, 'shown'), {}, { deliver })
  t.match(messages, [{ host: 'news.example:2525', envelope: { to: ['b@example.org'] } }])
  t.same(await subjects('news.example:2525'), ['first'])
  t.same(await subjects(), ['another server has keys of its own'])
  const path = join(home, 'page.hbs')
  await writeFile(path, block(relay, 'from a file'))
  await db.transact((app: Application) => renderFile(path, {}, { context: app }))
  t.same(await subjects('news.example:2525'), ['first', 'from a file'])
  await t.rejects(renderFile(path, {}), { code: 'NO_MAIL_HOST', message: /page\.hbs:1:1: .*option 'context'/ })
})

t.test('the daemon delivers each mail to its server, and logs in to the usual one only', async t => {
  const users = { ann: 'secret' }
  const scripts: SmtpScript[] = [{ extensions: ['AUTH PLAIN'], users }, { extensions: ['AUTH PLAIN'] }]
  const [usual, news] = await Promise.all(scripts.map(script => startSmtpScript(script)))
  t.teardown(() => Promise.all([usual!.close(), news!.close()]))
  const drop = testMaildrop(t, usual!.port, {
    MAILDROP_RELAYS: `127.0.0.1:${news!.port}`,
    MAILDROP_LOGIN: 'ann',
    MAILDROP_PASSWORD: 'secret',
  })
  const config = join(drop.home, 'config')
  writeFileSync(
    config,
    Object.entries(drop.env)
      .map(([key, value]) => `${key}="${value}"\n`)
      .join(''),
    { mode: 0o600 },
  )
  const db = await openDatabase(newLevel(), { maildropConfig: config })
  t.teardown(() => db.close())
  const page = `${block('smtphost="127.0.0.1" port=usual', 'usual')}${block('smtphost="127.0.0.1" port=news', 'news')}`
  await drop.daemon()
  await db.transact(app => app.create('/page', new Template(page)).render({ usual: usual!.port, news: news!.port }))
  await waitFor('both', () => usual!.messages.length + news!.messages.length === 2)
  t.match(usual!.messages, [{ user: 'ann', data: /Subject: usual/ }])
  t.match(news!.messages, [{ user: undefined, data: /Subject: news/ }])
  t.same(news!.logins, [])
  t.notMatch(news!.commands.join('\n'), /AUTH/)
  await drop.drained()
  t.match(await readFile(join(drop.home, 'var', 'maildrop.log'), 'utf8'), `relay=127.0.0.1:${news!.port}`)
  await rm(config)
})
