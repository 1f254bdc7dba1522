/** The configuration: every key right and wrong, file and environment, and that no message shows a password. */
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { loadConfig, type MaildropConfig } from '../../maildrop/config.ts'
import { openSigner } from '../../maildrop/delivery/dkim.ts'
import { openPasswords } from '../../maildrop/delivery/password.ts'
import { tlsOptions } from '../../maildrop/delivery/tls.ts'
import { MaildropError } from '../../maildrop/errors.ts'
import { CONFIG_KEY_NAMES, CONFIG_KEYS, type ConfigKey, type ConfigKeyName } from '../../maildrop/keys.ts'
import { unusableFiles } from '../../maildrop/smtp-config.ts'
import { PROJECT } from '../support/children.ts'
import { removeDirectory } from '../support/program.ts'

/** A configuration file of the test's own, readable by its owner only. */
function configFile(t: Test, text: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'maildrop-config-'))
  t.teardown(() => removeDirectory(directory))
  const file = join(directory, 'config')
  writeFileSync(file, text, { mode: 0o600 })
  return file
}

function load(t: Test, text: string, env: Record<string, string> = {}): MaildropConfig {
  return loadConfig({ file: configFile(t, text), env, cwd: '/base' })
}

/** For every key a value and what becomes of it, and a wrong value and what is said of it. */
const CASES: Record<
  ConfigKeyName,
  {
    right: [string, Partial<MaildropConfig> | { smtp: Partial<MaildropConfig['smtp']> }]
    wrong: [string, string] | null
  }
> = {
  MAILDROP_HOME: { right: ['h', { home: '/base/h', varDir: '/base/h/var' }], wrong: ['a\tb', 'control characters'] },
  MAILDROP_SPOOL: { right: ['/a; b;/a;', { spools: ['/a', '/base/b'] }], wrong: ['/a\u0007', 'control characters'] },
  MAILDROP_VAR: {
    right: ['/v', { varDir: '/v', logFile: '/v/maildrop.log' }],
    wrong: ['\u0001', 'control characters'],
  },
  MAILDROP_PID_FILE: { right: ['p', { pidFile: '/base/p' }], wrong: ['\u0001', 'control characters'] },
  MAILDROP_LOG_FILE: { right: ['/l', { logFile: '/l' }], wrong: ['\u0001', 'control characters'] },
  MAILDROP_LOG_FORMAT: { right: ['json', { logFormat: 'json' }], wrong: ['xml', 'text, json'] },
  SMTP_HOST: {
    right: ['::1', { smtp: { host: '::1' } }],
    wrong: ['mail:25', 'a host name or an IP address (the port is SMTP_PORT)'],
  },
  MAILDROP_DKIM_DOMAIN: { right: ['', { smtp: { dkim: undefined } }], wrong: ['\u0001', 'control characters'] },
  MAILDROP_DKIM_SELECTOR: { right: ['', { smtp: { dkim: undefined } }], wrong: ['\u0001', 'control characters'] },
  MAILDROP_DKIM_KEY_FILE: { right: ['', { smtp: { dkim: undefined } }], wrong: ['\u0001', 'control characters'] },
  MAILDROP_RELAYS: {
    right: [
      'Mail.example.org; [::1]:2525;mail.example.org:25',
      {
        relays: [
          { host: 'mail.example.org', port: 25, spool: '/base/data/maildrop/spool/.relays/mail.example.org:25' },
          { host: '::1', port: 2525, spool: '/base/data/maildrop/spool/.relays/[::1]:2525' },
        ],
      },
    ],
    wrong: ['mail:0', 'host or host:port, several separated by'],
  },
  MAILDROP_GROUP: { right: ['1', { shared: true }], wrong: ['mail', '0 or 1'] },
  SMTP_PORT: { right: ['587', { smtp: { port: 587 } }], wrong: ['70000', 'a whole number from 1 to 65535'] },
  MAILDROP_TLS: {
    right: ['2', { smtp: { tls: 'required' } }],
    wrong: ['yes', '0 (never), 1 (offered), 2 (required), implicit'],
  },
  MAILDROP_TLS_VERIFY: { right: ['1', { smtp: { tlsVerify: true } }], wrong: ['no', '0 (never), 1 (always), auto'] },
  MAILDROP_TLS_MIN: { right: ['1.3', { smtp: { tlsMin: 'TLSv1.3' } }], wrong: ['1.1', '1.2 (TLSv1.2), 1.3 (TLSv1.3)'] },

  MAILDROP_TLS_CA: { right: ['ca', { smtp: { tlsCa: '/base/ca' } }], wrong: ['\u0001', 'control characters'] },
  MAILDROP_LOGIN: { right: ['', { smtp: { login: undefined } }], wrong: ['a\u0000b', 'control characters'] },
  MAILDROP_PASSWORD: { right: ['', { smtp: { login: undefined } }], wrong: ['se\u0007cret', 'control characters'] },
  MAILDROP_AUTH: {
    right: ['xoauth2', { smtp: { login: undefined } }],
    wrong: ['ntlm', 'auto, plain, login, cram-md5, xoauth2'],
  },
  MAILDROP_PASSWORD_FILE: { right: ['', { smtp: { login: undefined } }], wrong: ['\u0001', 'control characters'] },
  MAILDROP_PASSWORD_COMMAND: {
    right: ['', { smtp: { login: undefined } }],
    wrong: ['pass show smtp', 'an absolute path and arguments'],
  },
  MAILDROP_INTERVAL: { right: ['0.5', { interval: 0.5 }], wrong: ['0', 'a number of seconds from 0.1 to 86400'] },
  MAILDROP_CONNECTIONS: {
    right: ['7', { connections: 7 }],
    wrong: ['1.5', 'a whole number of connections from 1 to 100'],
  },
  MAILDROP_BATCH: { right: ['9', { batch: 9 }], wrong: ['-1', 'a whole number of messages from 0 to 1000000'] },
  MAILDROP_MAX_AGE: { right: ['2d 12h', { maxAge: 216_000 }], wrong: ['5 days', 'a time of at least 1 second'] },
  MAILDROP_RATE: {
    right: ['100/h', { rate: { messages: 100, seconds: 3600, text: '100/h' } }],
    wrong: ['0/s', '1 to 100000 messages per second, minute, hour or day'],
  },
  MAILDROP_ON_UNKNOWN: { right: ['ask', { onUnknown: 'ask' }], wrong: ['hold', 'send, ask'] },
  WAIT_INTERVAL: {
    right: ['1.5', { waitInterval: 1.5, connections: 1 }],
    wrong: ['1e3', 'a number of seconds from 0 to 86400'],
  },
  MAILDROP_BOUNCE: { right: ['1', { bounce: true }], wrong: ['yes', '0 or 1'] },
  MAILDROP_ON_FAILURE: {
    right: [`/bin/x -a 'b c' d'e f'`, { onFailure: ['/bin/x', '-a', 'b c', 'de f'] }],
    wrong: ['mail -s x', 'an absolute path and arguments'],
  },
  MAILDROP_METRICS: {
    right: ['m.prom', { metrics: { file: '/base/m.prom' } }],
    wrong: ['127.0.0.1:9925', 'a port of this machine from 1 to 65535, or the path of a file'],
  },
  MAILDROP_STALL_ALARM: { right: ['1h', { stallAlarm: 3600 }], wrong: ['soon', 'a time of at least 1 second'] },
  DEBUG: { right: ['1', { debug: true }], wrong: ['true', '0 or 1'] },
  SUPERVISED_DAEMON: { right: ['1', { supervised: true }], wrong: ['2', '0 or 1'] },
  DEBUG_RECEIVER: {
    right: ['a@b.org', { debugReceiver: 'a@b.org' }],
    wrong: ['a@b.org, c@d.org', 'one mail address, local@domain'],
  },
  MAILDROP_CAPTURE: {
    right: ['maildir:m', { capture: { format: 'maildir', path: '/base/m' } }],
    wrong: ['m', 'maildir:/path or mbox:/path'],
  },
  ADD_MESSAGEID: { right: ['1', { addMessageId: true }], wrong: ['on', '0 or 1'] },
  PYTHON: { right: ['/usr/bin/python2.1', {}], wrong: null },
}

for (const key of CONFIG_KEY_NAMES) {
  const { right, wrong } = CASES[key]
  t.test(`${key} is taken from the file and from the environment, and refused when it is wrong`, async t => {
    const [value, expected] = right
    t.match(load(t, `# first\n${key}="${value}"\n`), expected)
    t.match(load(t, '', { [key]: value }), expected)
    t.match(
      load(t, `${key}=${CONFIG_KEYS[key].default ? `"${CONFIG_KEYS[key].default}"` : ''}\n`, { [key]: value }),
      expected,
    )
    if (wrong === null) return
    const [bad, said] = wrong
    const file = configFile(t, `# first\n\n${key}="${bad}"\n`)
    const shown = key === 'MAILDROP_PASSWORD' ? '"********"' : JSON.stringify(bad)
    const message = (where: string): string => `${where}: ${key} is ${shown}; expected `
    const failing = (run: () => unknown): string => {
      try {
        run()
      } catch (error) {
        t.match(error, { name: 'MaildropError', code: 'CONFIG_INVALID' })
        return (error as Error).message
      }
      throw new Error('a wrong value was taken')
    }
    const fromFile = failing(() => loadConfig({ file, env: {} }))
    t.ok(fromFile.startsWith(message(`${file}:3`)) && fromFile.includes(said), fromFile)
    if (key === 'DEBUG') return
    const fromEnvironment = failing(() => load(t, '', { [key]: bad }))
    t.ok(fromEnvironment.startsWith(message('environment')) && fromEnvironment.includes(said), fromEnvironment)
  })
}

t.test('everything that is wrong is told at once, in the order of the lines, without a password', t => {
  const file = configFile(
    t,
    [
      'SMTP_PORT="x"',
      'MAILDROP_TLS=9',
      'MAILDROP_LOGIN=ann',
      'MAILDROP_PASSWORD = "hunter2"',
      'SMTP_HSOT=a',
      'DEBUG_RECEIVER=noaddress',
      'MAILDROP_DKIM_DOMAIN=example.org',
    ].join('\n'),
  )
  const said = [
    `${file}:1: SMTP_PORT is "x"; expected a whole number from 1 to 65535`,
    `${file}:2: MAILDROP_TLS is "9"; expected 0 (never), 1 (offered), 2 (required), implicit`,
    `${file}:4: the line of MAILDROP_PASSWORD is not an assignment; expected KEY="value", no blanks around =, quotes around what is not plain`,
    `${file}:5: unknown key SMTP_HSOT; did you mean SMTP_HOST?`,
    `${file}:6: DEBUG_RECEIVER is "noaddress"; expected one mail address, local@domain`,
    `${file}:7: MAILDROP_DKIM_DOMAIN is set, but MAILDROP_DKIM_SELECTOR and MAILDROP_DKIM_KEY_FILE are not; set all or none`,
    'environment: MAILDROP_RATE is "1/w"; expected 1 to 100000 messages per second, minute, hour or day: 5/s, 60/m, 100/h, 2000/d',
  ]
  const problems = problemsOf(() => loadConfig({ file, env: { MAILDROP_RATE: '1/w' } }))
  t.strictSame(problems, said)
  const many = problemsOf(() => load(t, 'X=1\n'.repeat(1000)))
  t.equal(many.length, 21)
  t.match(many.at(-1), /config: 980 more mistakes like these$/)
  t.end()
})

/** One line for each mistake; the message has all of them. */
function problemsOf(run: () => unknown): string[] {
  try {
    run()
  } catch (error) {
    if (!(error instanceof MaildropError) || error.code !== 'CONFIG_INVALID') throw error
    const problems = error.problems.map(({ where, text }) => `${where}: ${text}`)
    if (error.message !== problems.join('; and ')) throw error
    return problems
  }
  return []
}

const loadWith = (env: Record<string, string>) => loadConfig({ file: '/dev/null', env, cwd: '/base' })

const HOSTILE = [
  ...['garbage', '-5', '99999999999999999999', '1e9', 'NaN', '0x10', '1,5', '5 parsecs', ' ', ' /x', ';', '25'],
  ...['~/x', 'file:///x', '/etc', '/dev/zero', '../x', '$(id)', 'x'.repeat(5000), `/x/${'y'.repeat(256)}`, '\u202e'],
  ...['a@', '@b', 'a@b@c', 'a@-b', 'a@b..c', 'a@25', '10.0.0.300', `maildir:${'z'.repeat(256)}`, 'mbox: x'],
]
/** What no key takes. */
const DAMAGED = ['a\nb', 'a\rb', 'a\u0000b', 'a\ufffdb']

t.test('no value makes any key fail otherwise than with its name and place', t => {
  const together: Record<string, string> = { MAILDROP_LOGIN: 'ann', MAILDROP_PASSWORD: 'hunter22' }
  for (const key of CONFIG_KEY_NAMES) {
    const env = key.startsWith('MAILDROP_PASSWORD_') ? { MAILDROP_LOGIN: 'ann' } : together
    for (const value of [...HOSTILE, ...DAMAGED]) {
      const problems = problemsOf(() => loadWith({ ...env, [key]: value }))
      if (!problems.every(text => text.startsWith('environment: ') && text.includes(key) && text.length < 700))
        t.fail(`${key} ${problems}`)
      if (DAMAGED.includes(value) && key !== 'PYTHON' && key !== 'DEBUG')
        t.equal(problems.length, 1, `${key} ${JSON.stringify(value)}`)
    }
  }
  t.end()
})

t.test('what would do something else than it says is refused', t => {
  const wrong: Partial<Record<ConfigKeyName, string[]>> = {
    MAILDROP_HOME: [' ', ' /x', '~/x', '~ann/x', 'file:///x', 'y'.repeat(256), `/${'y/'.repeat(2048)}`],
    MAILDROP_SPOOL: [';', ' ; ', '/x;~/y'],
    SMTP_HOST: ['25', '10.0.0.300', '127.1', '0x7f.1', 'a.0x7f', '-a', 'a..b', `${'a.'.repeat(127)}aa`],
    MAILDROP_RELAYS: [';', '25', 'mail:25;10.0.0.300'],
    MAILDROP_METRICS: ['-5', '1e9', '0x10', 'localhost:9925', '~/x'],
    DEBUG_RECEIVER: ['noaddress', 'root', 'a@b..c', 'a@25', '"a@b"', 'a@'],
    MAILDROP_CAPTURE: ['maildir:', 'mbox: x', 'maildir:~/x', 'Maildir:/x'],
  }
  for (const [key, values] of Object.entries(wrong))
    for (const value of values) t.equal(problemsOf(() => loadWith({ [key]: value })).length, 1, `${key} ${value}`)
  const right: Partial<Record<ConfigKeyName, string[]>> = {
    SMTP_HOST: ['10.0.0.3', '::1', 'mail', 'mail.example.org.', '4you.example', 'a.b25'],
    MAILDROP_METRICS: ['9925', 'm.prom', './9925', '/x/1e9'],
    DEBUG_RECEIVER: ['root@localhost', '"a b"@example.org', 'a@[127.0.0.1]', 'ann@b\u00fccher.example'],
  }
  for (const [key, values] of Object.entries(right))
    for (const value of values)
      t.strictSame(
        problemsOf(() => loadWith({ [key]: value })),
        [],
        `${key} ${value}`,
      )
  t.end()
})

t.test('nothing but mail is put into a spool, where it would be moved away', t => {
  const wrong: [string, string[]][] = [
    ['MAILDROP_SPOOL=/q\nMAILDROP_VAR=/q\n', ['config:2: MAILDROP_VAR is "/q", in the spool /q']],
    ['MAILDROP_HOME=/q\nMAILDROP_SPOOL=/q\n', ['config:2: MAILDROP_VAR is "/q/var", in the spool /q']],
    ['MAILDROP_SPOOL="/q;/q/b"\n', ['config:1: MAILDROP_SPOOL is "/q/b", in the spool /q']],
    ['MAILDROP_SPOOL=/q\nMAILDROP_LOG_FILE=/q/log\n', ['config:2: MAILDROP_LOG_FILE is "/q/log"']],
    ['MAILDROP_SPOOL=/q\nMAILDROP_CAPTURE=maildir:/q/failed\n', ['config:2: MAILDROP_CAPTURE is "/q/failed"']],
    ['MAILDROP_SPOOL=/q\nMAILDROP_TLS_CA=/q/ca\nMAILDROP_METRICS=/q/m\n', ['MAILDROP_TLS_CA', 'MAILDROP_METRICS']],
  ]
  for (const [text, said] of wrong) {
    const problems = problemsOf(() => load(t, text))
    t.equal(problems.length, said.length, problems.join('\n'))
    for (const part of said)
      t.ok(
        problems.some(problem => problem.includes(part)),
        part,
      )
  }
  const file = configFile(t, '')
  const env = { MAILDROP_SPOOL: dirname(file) }
  t.match(
    problemsOf(() => loadConfig({ file, env })),
    [/config: the configuration file is ".*", in the spool/],
  )
  t.strictSame(
    problemsOf(() => load(t, 'MAILDROP_SPOOL=/q\nMAILDROP_VAR=/q/.var\n')),
    [],
    'what is hidden is no mail',
  )
  t.end()
})

t.test('a variable of the environment that is nearly a key is a warning', async t => {
  const { warnings } = loadWith({ MAILDROP_CAPTUR: 'maildir:x', SMTP_HOSTS: 'x', MAILDROP_REQUIRE_PEERS: '1' })
  t.strictSame(warnings, ['environment: MAILDROP_CAPTUR means nothing; did you mean MAILDROP_CAPTURE?'])
  t.strictSame(loadWith({ MAILDROP_CONFIG: '', MAILDROP_CONFIGS: 'a=/b', MAILDROP_VAR: '' }).warnings, [])
})

t.test('a key that is set twice is a warning', async t => {
  t.match(load(t, 'SMTP_PORT=26\n\nSMTP_PORT=27\n').warnings, [
    /config:3: SMTP_PORT is set before, at .*config:1; the last one counts$/,
  ])
})

t.test('a file that is none, or is too large, is an error at once', async t => {
  const directory = dirname(configFile(t, ''))
  const large = join(directory, 'large')
  const binary = configFile(t, '\0SMTP_PORT=26\n')
  execFileSync('mkfifo', [join(directory, 'fifo')])
  writeFileSync(large, '')
  truncateSync(large, 2 ** 30)
  const cases: [string, RegExp][] = [
    ['/dev/zero', /it has more than \d+ bytes/],
    [large, /it has more than \d+ bytes/],
    [directory, /it is a directory, where a file is needed/],
    [join(directory, 'fifo'), /it is a pipe, where a file is needed/],
    [join(directory, 'none'), /ENOENT/],
    [join(large, 'below'), /ENOTDIR/],
  ]
  const config = { host: 'localhost', tls: 'required' } as MaildropConfig['smtp']
  for (const [file, said] of cases) {
    t.throws(() => loadConfig({ file, env: {} }), { code: 'CONFIG_UNREADABLE', message: said })
    await t.rejects(openPasswords({ from: 'file', path: file }).get(), { message: said })
    t.throws(() => tlsOptions({ ...config, tlsCa: file }), { message: said })
    t.throws(() => openSigner({ domain: 'example.org', selector: 's', keyFile: file }), { message: said })
  }
  t.equal(loadConfig({ file: '/dev/null', env: {} }).smtp.port, 25)
  t.match(
    problemsOf(() => loadConfig({ file: binary, env: {} })),
    [/config:1: a byte of zero/],
  )
  writeFileSync(large, Buffer.from('caf\xe9\n', 'latin1'))
  await t.rejects(openPasswords({ from: 'file', path: large }).get(), { message: /no text in UTF-8/ })
})

t.test('files that cannot be used are found before mail waits for them', async t => {
  const directory = dirname(configFile(t, ''))
  const env = {
    MAILDROP_TLS_CA: '/nowhere',
    MAILDROP_LOGIN: 'ann',
    MAILDROP_PASSWORD_FILE: directory,
    MAILDROP_DKIM_DOMAIN: 'example.org',
    MAILDROP_DKIM_SELECTOR: 's',
    MAILDROP_DKIM_KEY_FILE: `${directory}/config/below`,
  }
  const { smtp, warnings } = load(t, '', env)
  t.strictSame(warnings, [])
  t.match(unusableFiles(smtp), [
    'MAILDROP_TLS_CA /nowhere cannot be used, and mail waits until it can: ENOENT',
    /^MAILDROP_DKIM_KEY_FILE .*: ENOTDIR$/,
    /^MAILDROP_PASSWORD_FILE .*: it is a directory, where a file is needed$/,
  ])
})

t.test('DEBUG in the environment with the names of other programs is not meant for this one', async t => {
  t.equal(load(t, '', { DEBUG: 'express:*' }).debug, false)
  t.equal(load(t, 'DEBUG=1', { DEBUG: '0' }).debug, false)
})

t.test('without any setting everything has its documented default', async t => {
  t.match(load(t, ''), {
    home: '/base/data/maildrop',
    spools: ['/base/data/maildrop/spool'],
    pidFile: '/base/data/maildrop/var/maildrop.pid',
    logFile: '/base/data/maildrop/var/maildrop.log',
    smtp: { host: 'localhost', port: 25, tls: 'offered', login: undefined },
    interval: 120,
    batch: 0,
    maxAge: 432_000,
    waitInterval: 0,
    debug: false,
    supervised: false,
    addMessageId: false,
    warnings: [],
  })
})

t.test('a login and a password belong together', async t => {
  t.strictSame(load(t, "MAILDROP_LOGIN=ann\nMAILDROP_PASSWORD='a \"$`\\\\b'\n").smtp.login, {
    user: 'ann',
    mechanism: 'auto',
    password: { from: 'value', value: 'a "$`\\\\b' },
  })
  t.throws(() => load(t, 'MAILDROP_LOGIN=ann\n'), /MAILDROP_LOGIN is set, but MAILDROP_PASSWORD is not; set both/)
  t.throws(() => load(t, 'MAILDROP_PASSWORD=x\n'), /MAILDROP_PASSWORD is set, but MAILDROP_LOGIN is not; set both/)
})

t.test('a password comes from one place', async t => {
  const login = 'MAILDROP_LOGIN=ann\n'
  t.strictSame(load(t, `${login}MAILDROP_PASSWORD_FILE=secret\n`).smtp.login?.password, {
    from: 'file',
    path: '/base/secret',
  })
  t.strictSame(load(t, `${login}MAILDROP_PASSWORD_COMMAND="/bin/pass  show \\$x smtp"\n`).smtp.login?.password, {
    from: 'command',
    command: ['/bin/pass', 'show', '$x', 'smtp'],
  })
  for (const key of ['MAILDROP_PASSWORD_FILE', 'MAILDROP_PASSWORD_COMMAND']) {
    t.throws(() => load(t, `${key}=/x\n`), new RegExp(`${key} is set, but MAILDROP_LOGIN is not`))
    t.throws(() => load(t, `${login}${key}=/x\nMAILDROP_PASSWORD=y\n`), new RegExp(`${key} are both set; set one`))
  }
})

t.test('certificates are checked where encryption is required, unless told otherwise', async t => {
  const verify = (tls: string, wanted: string) =>
    load(t, `MAILDROP_TLS=${tls}\nMAILDROP_TLS_VERIFY=${wanted}\n`).smtp.tlsVerify
  for (const tls of ['1', '2', 'implicit']) {
    t.equal(verify(tls, 'auto'), tls !== '1')
    t.equal(verify(tls, '0'), false)
    t.equal(verify(tls, '1'), true)
  }
})

t.test('a port that does not go with the encryption is a warning', async t => {
  t.match(load(t, 'SMTP_PORT=465\n').warnings, [/SMTP_PORT is 465, .* set MAILDROP_TLS="implicit"/])
  t.match(load(t, 'MAILDROP_TLS=implicit\n').warnings, [/SMTP_PORT is 25; servers begin with TLS at port 465/])
  t.strictSame(load(t, 'SMTP_PORT=465\nMAILDROP_TLS=implicit\n').warnings, [])
})

t.test('the keys of DKIM belong together', async t => {
  const all = ['MAILDROP_DKIM_DOMAIN=b\u00fccher.example', 'MAILDROP_DKIM_SELECTOR=s1', 'MAILDROP_DKIM_KEY_FILE=key']
  t.strictSame(load(t, all.join('\n')).smtp.dkim, {
    domain: 'xn--bcher-kva.example',
    selector: 's1',
    keyFile: '/base/key',
  })
  for (const missing of all) t.throws(() => load(t, all.filter(line => line !== missing).join('\n')), /set all or none/)
  t.throws(
    () => load(t, [...all, 'MAILDROP_DKIM_SELECTOR="s; d=other"'].join('\n')),
    /expected labels of a domain name/,
  )
  t.throws(() => load(t, [...all, 'MAILDROP_DKIM_DOMAIN="a b"'].join('\n')), /expected a domain name/)
})

t.test('a file means to us what it means to a shell', async t => {
  const text = `
# comment
export SMTP_HOST=mail.example.org   # comment
MAILDROP_LOGIN="a b"'' x
`
  t.throws(() => load(t, text), { code: 'CONFIG_INVALID' }, 'what we do not read alike is refused')
  const values = [
    `plain`,
    `"a b"`,
    `'a b'`,
    String.raw`"q\" d\$ b\\ t\`"`,
    String.raw`'a\b"'`,
    `"#no"`,
    `""`,
    `"x"  # c`,
  ]
  for (const value of values) {
    const file = configFile(t, `MAILDROP_LOGIN=${value}\nMAILDROP_PASSWORD=p\n`)
    const shell = execFileSync('sh', ['-c', `. "${file}"; printf %s "$MAILDROP_LOGIN"`], { encoding: 'utf8' })
    if (shell === '') t.throws(() => loadConfig({ file, env: {} }), { code: 'CONFIG_INVALID' })
    else t.equal(loadConfig({ file, env: {} }).smtp.login?.user, shell, value)
  }
  t.equal(load(t, '\ufeffSMTP_PORT=26\r\n').smtp.port, 26, 'also with CRLF and a byte order mark')
  t.equal(load(t, 'SMTP_PORT=26\nSMTP_PORT=27\n').smtp.port, 27, 'the last one counts')
})

t.test('a line that is no assignment is named by file and line, and nothing of its value is shown', async t => {
  for (const line of [
    'MAILDROP_PASSWORD = "hunter2"',
    'MAILDROP_PASSWORD="hunter2',
    'MAILDROP_PASSWORD="$hunter2"',
    'MAILDROP_PASSWORD=`hunter2`',
    'MAILDROP_PASSWORD:hunter2',
    'MAILDROP_PASSWORD=a;hunter2',
    'hunter2',
  ]) {
    const file = configFile(t, `\n${line}\n`)
    try {
      loadConfig({ file, env: {} })
      t.fail(line)
    } catch (error) {
      const { message } = error as Error
      t.match(error, { code: 'CONFIG_INVALID' })
      t.ok(message.startsWith(`${file}:2: `), message)
      t.notMatch(message, 'hunter2')
    }
  }
})

t.test('an unknown key is an error that says which one may be meant', async t => {
  t.throws(() => load(t, 'MAILDROP_HOST=x\n'), /config:1: unknown key MAILDROP_HOST; did you mean MAILDROP_HOME\?/)
  t.throws(() => load(t, 'smtp_port=1\n'), /unknown key smtp_port; did you mean SMTP_PORT\?/)
  t.throws(() => load(t, 'COLOUR=red\n'), /unknown key COLOUR; known keys: MAILDROP_HOME .* PYTHON/)
})

t.test('the file is the one given, MAILDROP_CONFIG, maildrop/config here, or the shipped one', async t => {
  const file = configFile(t, 'SMTP_PORT=1001\n')
  const other = configFile(t, 'SMTP_PORT=1002\n')
  const cwd = mkdtempSync(join(tmpdir(), 'maildrop-cwd-'))
  t.teardown(() => removeDirectory(cwd))
  const shipped = loadConfig({ env: {}, cwd })
  t.equal(shipped.file, join(PROJECT, 'maildrop', 'config'))
  mkdirSync(join(cwd, 'maildrop'))
  writeFileSync(join(cwd, 'maildrop', 'config'), 'SMTP_PORT=1003\n')
  t.equal(loadConfig({ env: {}, cwd }).smtp.port, 1003)
  t.equal(loadConfig({ env: { MAILDROP_CONFIG: other }, cwd }).smtp.port, 1002)
  t.equal(loadConfig({ file, env: { MAILDROP_CONFIG: other }, cwd }).smtp.port, 1001)
  t.equal(loadConfig({ file: 'maildrop/config', env: {}, cwd }).file, join(cwd, 'maildrop', 'config'))
  t.throws(() => loadConfig({ file: '/nowhere/config', env: {} }), {
    code: 'CONFIG_UNREADABLE',
    message: 'cannot read the configuration file /nowhere/config: ENOENT; check the path',
  })
})

t.test('a password in a file that others can read is a warning, elsewhere it is none', async t => {
  const file = configFile(t, '\nMAILDROP_LOGIN=ann\nMAILDROP_PASSWORD=hunter2\n')
  t.strictSame(loadConfig({ file, env: {} }).warnings, [])
  for (const mode of [0o640, 0o604]) {
    chmodSync(file, mode)
    t.strictSame(loadConfig({ file, env: {} }).warnings, [
      `${file}:3: the password can be read by others; run: chmod 600 ${file}`,
    ])
  }
  t.strictSame(loadConfig({ file, env: { MAILDROP_PASSWORD: 'other' } }).warnings, [])
  const open = configFile(t, '')
  chmodSync(open, 0o644)
  t.strictSame(loadConfig({ file: open, env: { MAILDROP_LOGIN: 'ann', MAILDROP_PASSWORD: 'hunter2' } }).warnings, [])
})

t.test('a password that cannot be hidden everywhere is a warning', async t => {
  for (const [password, said] of [
    ['abc', [/MAILDROP_PASSWORD has fewer than 4 characters.*; choose a longer one$/]],
    ['abcd', []],
  ] as const)
    t.match(load(t, `MAILDROP_LOGIN=ann\nMAILDROP_PASSWORD=${password}\n`).warnings, said)
})

t.test('a password file that others can read is a warning', async t => {
  const secret = configFile(t, 'hunter2\n')
  const text = `MAILDROP_LOGIN=ann\nMAILDROP_PASSWORD_FILE=${secret}\n`
  t.strictSame(load(t, text).warnings, [])
  chmodSync(secret, 0o644)
  t.strictSame(load(t, text).warnings, [`MAILDROP_PASSWORD_FILE can be read by others; run: chmod 600 ${secret}`])
})

t.test('the shipped file names every key with its default and its description, and no others', async t => {
  const text = readFileSync(join(PROJECT, 'maildrop', 'config'), 'utf8')
  const shipped = new Map<string, { value: string; description: string }>()
  let comment: string[] = []
  for (const line of text.split('\n')) {
    const [, key, value] = /^([A-Z_]+)="(.*)"$/.exec(line) ?? []
    if (line.startsWith('# ')) comment.push(line.slice(2))
    else if (key !== undefined && value !== undefined) shipped.set(key, { value, description: comment.join(' ') })
    if (!line.startsWith('#')) comment = []
  }
  const table = CONFIG_KEYS as Record<string, ConfigKey>
  t.strictSame([...shipped.keys()], CONFIG_KEY_NAMES)
  for (const [key, { value, description }] of shipped)
    t.strictSame({ value, description }, { value: table[key]?.default, description: table[key]?.description }, key)
  t.doesNotThrow(() => loadConfig({ file: join(PROJECT, 'maildrop', 'config'), env: {} }))
})

t.test('a duration is seconds, or days, hours, minutes and seconds', async t => {
  const maxAge = (value: string) => load(t, '', { MAILDROP_MAX_AGE: value }).maxAge
  for (const [value, seconds] of Object.entries({
    '90': 90,
    '90s': 90,
    '1h30m': 5400,
    '1d 1h 1m 1s': 90_061,
    '36h': 129_600,
  }))
    t.equal(maxAge(value), seconds, value)
  for (const value of ['0', '-1', '0d', '1.5h', '5w', '1m 1d', 'd', ' '])
    t.throws(() => maxAge(value), { code: 'CONFIG_INVALID' }, value)
})
