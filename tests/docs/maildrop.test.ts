/** docs/maildrop.md and the program agree, in both directions: keys, events, fields, metrics; its sessions run. */
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LOG_EVENTS, LOG_FIELDS } from '../../maildrop/daemon/log-events.ts'
import { openMeters } from '../../maildrop/daemon/meters.ts'
import { CONFIG_KEYS, type ConfigKey } from '../../maildrop/index.ts'
import { namesIn, SAMPLE, testMaildrop } from '../support/maildrop.ts'
import { program, removeDirectory, TOP } from '../support/program.ts'
import { blocksOf, follow } from '../support/readme.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

const GUIDE = readFileSync(join(TOP, 'docs/maildrop.md'), 'utf8')

/** The rows of the tables under a heading, each as its cells; the first is a name in backquotes. */
function rowsUnder(heading: string): string[][] {
  const section = GUIDE.split(/^(?=## )/m).find(part => part.startsWith(`## ${heading}\n`)) ?? ''
  return Array.from(section.matchAll(/^\| `([\w-]+)` \| (.*) \|$/gm), ([, name = '', rest = '']) => [
    name,
    ...rest.split(' | '),
  ])
}

const plain = (text: string): string => text.replaceAll('`', '').replace(/\.$/, '')

t.test('every key is described as it is, and no other', async t => {
  const rows = rowsUnder('Configuration')
  t.same(rows.map(([key]) => key).sort(), Object.keys(CONFIG_KEYS).sort())
  const table: Record<string, ConfigKey> = CONFIG_KEYS
  for (const [key = '', value = '', meaning = ''] of rows) {
    const { default: usual, description } = table[key]!
    const [text = '', elsewhere = ''] = description.replace(/\.$/, '').split(' Default: ')
    t.equal(`${plain(value).trim()}|${plain(meaning)}`, `${usual || plain(elsewhere)}|${plain(text)}`, key)
  }
})

/** The fields of some JSON, as the guide names them. */
function fieldsOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value) && typeof (value[0] ?? {}) === 'object')
    return value.flatMap(each => fieldsOf(each, `${path}[]`))
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path]
  return Object.entries(value).flatMap(([name, inner]) => fieldsOf(inner, path === '' ? name : `${path}.${name}`))
}

t.test('every field of JSON that commands print is described, and no other', async t => {
  const script: SmtpScript = {
    rcpt: to => (to.startsWith('no') ? '550 5.1.1 no' : to.startsWith('later') ? '450 later' : undefined),
  }
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, {
    MAILDROP_BOUNCE: '1',
    MAILDROP_RATE: '1000/h',
    MAILDROP_RELAYS: '127.0.0.1:9',
  })
  const found = new Map<string, Set<string>>()
  const run = async (args: string[], env: Record<string, string> = {}) => {
    const { stdout } = await program(drop.home, 'maildrop/bin/maildropctl', [...args, '--json'], {
      ...drop.env,
      ...env,
    })
    const fields = [JSON.parse(stdout)].flat().flatMap(each => fieldsOf(each))
    found.set(args[0]!, new Set([...(found.get(args[0]!) ?? []), ...fields]))
  }
  const recipients = [{ address: 'a@example.org', status: 'failed', expired: true }]
  mkdirSync(join(drop.spool, 'failed'), { recursive: true })
  const state = { version: 1, id: 'old', from: '', arrived: new Date().toISOString(), attempts: 9, recipients }
  writeFileSync(join(drop.spool, 'failed', 'old.json'), JSON.stringify(state))
  writeFileSync(join(drop.spool, 'failed', 'old'), SAMPLE)
  await drop.drop('unfit', '##Nonsense\n')
  const id = await drop.submit(['no@example.org', 'later@example.org'])
  const daemon = await drop.daemon()
  await waitFor('a deferred message', () => namesIn(drop.spool, '.deferred').length > 0)
  await waitFor('an unfit one', () => drop.lines('unfit').length > 0)
  await server.close()
  await drop.submit(['ann@example.org'])
  await waitFor('the server to be missed', () => drop.lines('server-down').length > 0)
  await run(['status'])
  await run(['status'], { SMTP_PORT: 'none' })
  daemon.process.kill('SIGSTOP')
  await run(['queue'])
  await run(['show', id])
  await run(['show', 'old'])
  for (const command of ['retry', 'hold', 'release', 'delete']) await run([command, '--dry-run', id, 'none'])
  daemon.process.kill('SIGCONT')
  daemon.process.kill('SIGTERM')
  await daemon.ended
  await run(['status'], { MAILDROP_LOGIN: 'u', MAILDROP_PASSWORD: 'p', MAILDROP_CAPTURE: 'maildir:inbox' })
  await run(['configtest'])

  const described = new Map<string, Set<string>>()
  const section = GUIDE.split(/^(?=## )/m).find(part => part.startsWith('## Output as JSON\n')) ?? ''
  for (const [, commands = '', field = '', meaning = ''] of section.matchAll(/^\| (`.*?`) \| (.*?) \| (.*) \|$/gm)) {
    const names = Array.from(
      `${field} ${meaning}`.matchAll(/`([a-z]\w*(?:\[\])?(?:\.\w+(?:\[\])?)*)`/gi),
      ([, name = '']) => name,
    )
    for (const command of commands.replaceAll('`', '').split(', '))
      described.set(command, new Set([...(described.get(command) ?? []), ...names]))
  }
  t.same([...found.keys()].sort(), [...described.keys()].sort())
  for (const [command, fields] of found) {
    for (const field of fields) {
      const name = field.replace(/^(daemon\.relays\[\]\.destination)\..*/, '$1')
      const named = name === command ? 'retry' : name
      t.ok(described.get(command)?.has(named), `${command}: ${name} is described`)
    }
    const isThere = (name: string): boolean => [...fields].some(field => field === name || field.startsWith(`${name}.`))
    for (const name of described.get(command) ?? [])
      if (/[.[]/.test(name) && !/^daemon\.(?:problem|troubles|destination\.silence)/.test(name))
        t.ok(isThere(name), `${command}: ${name} is there`)
  }
})

t.test('every event and field of the log is described as it is, and no other', async t => {
  const rows = rowsUnder('The log').map(([name = '', ...rest]) => [name, rest.join(' | ')])
  const events = rows.slice(0, Object.keys(LOG_EVENTS).length)
  t.same(Object.fromEntries(events), LOG_EVENTS)
  t.same(Object.fromEntries(rows.slice(events.length)), LOG_FIELDS)
})

t.test('every metric is described as it is, and no other', async t => {
  const measured = { started: new Date(), spools: () => [], status: () => undefined, stalled: () => 0 }
  const help = (await openMeters(measured).text()).matchAll(/^# HELP (\S+) (.*)$/gm)
  t.same(
    Object.fromEntries(rowsUnder('Metrics')),
    Object.fromEntries(Array.from(help, ([, name, text]) => [name, text])),
  )
})

t.test('what the guide refers to in itself is there', async t => {
  const anchors = Array.from(GUIDE.matchAll(/^#+ (.*)$/gm), ([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
  for (const [, anchor = ''] of GUIDE.matchAll(/\]\(#([^)]+)\)/g)) t.ok(anchors.includes(anchor), anchor)
})

t.test('the sessions print what stands there', async t => {
  const cwd = mkdtempSync(join(tmpdir(), 'guide-'))
  t.teardown(async () => {
    await program(cwd, 'maildrop/bin/stop_maildrop', [])
    await removeDirectory(cwd)
  })
  const env = { PATH: `${join(TOP, 'maildrop', 'bin')}:${process.env.PATH}`, HOME: cwd }
  await follow(t, cwd, [...blocksOf(GUIDE, '## A first look'), ...blocksOf(GUIDE, '## The log')], env)
})
