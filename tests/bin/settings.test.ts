/** `show` of a mail host: the settings as they result, without secrets. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { objtreeUser } from '../support/objtree.ts'

const SECRET = 'hunter2-is-not-shown'

t.test('show of a mail host tells how its mail goes, and keeps passwords to itself', async t => {
  const { ok, json, cwd } = await objtreeUser(t, {
    env: { MAILDROP_CONFIG: 'config', SMTP_HOST: 'mail.example.org', MAILDROP_PASSWORD: SECRET },
  })
  await writeFile(
    join(cwd, 'config'),
    'MAILDROP_SPOOL="in;out"\nMAILDROP_LOGIN="ann"\nMAILDROP_TLS="2"\nSMTP_PORT="587"\n',
  )
  await ok(['add', 'MaildropHost', '/XYZ'])
  const text = await ok(['show', '/XYZ'])
  const { settings } = await json<{ settings: Record<string, unknown> }>(['show', '/XYZ'])
  t.match(settings, {
    spool: join(cwd, 'in'),
    spools: [join(cwd, 'in'), join(cwd, 'out')],
    configuration: join(cwd, 'config'),
    server: 'mail.example.org:587',
    'smtp.tls': 'required',
    'smtp.login.user': 'ann',
  })
  t.equal(settings['smtp.login.password'], '********')
  t.match(text, /^smtp\.login\.password +\*{8}$/m)
  for (const printed of [text, JSON.stringify(settings)]) t.notMatch(printed, SECRET)
})

t.test('a wrong configuration is named, and other objects are shown nevertheless', async t => {
  const { ok, fails, cwd } = await objtreeUser(t, { env: { MAILDROP_CONFIG: 'config' } })
  await writeFile(join(cwd, 'config'), 'SMTP_PORT="many"\n')
  await ok(['add', 'MaildropHost', '/XYZ'])
  await ok(['add', 'Folder', '/f'])
  await fails(['show', '/XYZ'], /config:1.*SMTP_PORT/)
  t.match(await ok(['show', '/f']), /^type +Folder$/m)
})
