/** objtree as its users run it: the launcher, a directory, an exit code, and what is printed. */
import { chmod, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { simpleParser } from 'mailparser'
import t from 'tap'
import { jsonPieces } from '../../administration/json-pieces.ts'
import { mailsIn, namesIn } from '../support/maildrop.ts'
import { objtreeUser } from '../support/objtree.ts'
import { directory, program, TOP } from '../support/program.ts'
import { fc } from '../support/properties.ts'

const MESSAGE = 'From: "Me" <me@example.org>\nTo: ann@example.org\nSubject: Hi\n\nText\n'

/** The mail files in the default spool. */
const mails = (cwd: string) => mailsIn(join(cwd, 'data', 'maildrop', 'spool'))

t.test('init creates a database where it is told, and leaves an existing one alone', async t => {
  const { ok, fails, cwd } = await objtreeUser(t, { init: false })
  await fails(['ls'], /no database at .*\/data\/objects; create it with 'objtree --db .* init'/)
  t.same(namesIn(cwd), [], 'looking creates nothing')
  t.match(await ok(['init']), `created an object database in ${join(cwd, 'data', 'objects')}`)
  await ok(['add', 'Folder', '/kept'])
  t.match(await ok(['init']), /already/)
  t.match(await ok(['ls']), /^kept\tFolder\t/)
  await ok(['--db', 'other', 'init'])
  t.equal(await ok(['--db', 'other', 'ls']), '')
  const { stdout } = await program(cwd, 'bin/objtree', ['ls'], { OBJTREE_DB: join(cwd, 'other') })
  t.equal(stdout, '', 'OBJTREE_DB names the database')
  await writeFile(join(cwd, 'file'), 'x')
  await fails(['--db', 'file', 'init'], /file/)
  await symlink('loop', join(cwd, 'loop'))
  await fails(['--db', 'loop', 'ls'], /loop cannot be opened: ELOOP/)
  await mkdir(join(cwd, 'foreign'))
  await writeFile(join(cwd, 'foreign', 'CURRENT'), 'garbage')
  await fails(['--db', 'foreign', 'ls'], /foreign/)
})

t.test('add, set, show, ls, tree and rm do what they say', async t => {
  const { ok, fails, cwd } = await objtreeUser(t)
  await fails(['add', 'MaildropHost', '/mail/XYZ'], /'\/mail\/XYZ' cannot be created: .*no folder 'mail'/)
  t.equal(
    await ok(['add', 'MaildropHost', '/mail/XYZ', 'title=Outgoing', '--parents']),
    'added MaildropHost /mail/XYZ\n',
  )
  await fails(['add', 'Folder', '/mail/XYZ'], /has an object 'XYZ' already/)
  await fails(['add', 'Folder', '/mail/XYZ/deeper'], /MaildropHost, not a folder/)
  await fails(
    ['add', 'Foldr', '/x'],
    /no type 'Foldr'; expected Folder, OrderedFolder, Template, File, MaildropHost; classes of your own/,
  )
  for (const name of ['a<b', 'a>b', 'a&b', '_hidden', 'a\nb'])
    await fails(['add', 'Folder', `/${name}`], /cannot be the name/)
  await fails(['add', 'Folder', '/../x', '--parents'], /'?\.\.'?/)

  await writeFile(join(cwd, 'page.hbs'), 'Hello <<name>>\n')
  await ok(
    ['add', 'Template', '/shop/hello', 'source=@page.hbs', 'contentType=text/plain', '-p', '--parents'].filter(
      a => a !== '-p',
    ),
  )
  await fails(['add', 'Template', '/shop/other', 'source=@missing'], /the file .*missing cannot be read/)
  t.equal(await ok(['ls', '/shop']), 'hello\tTemplate\t\n', 'the failed one was not added')

  t.equal(await ok(['set', '/mail/XYZ', 'title=@@home']), 'changed /mail/XYZ\n')
  t.match(await ok(['show', '/mail/XYZ']), /^title +string +@home$/m)
  await fails(['set', '/mail/XYZ', 'transactional=false', 'titel=x'], /no property 'titel'.*title, transactional/)
  t.match(await ok(['show', '/mail/XYZ']), /^transactional +boolean +true$/m, 'nothing was set in part')
  await fails(['set', '/mail/XYZ', 'transactional=maybe'], /must be true or false, found "maybe"/)
  await fails(['set', '/mail/XYZ', 'title'], /expected key=value/, 2)
  await fails(['set', '/mail/XYZ', '__proto__=x'], /no property '__proto__'/)
  await fails(['show', '/mail/ABC'], /nothing at '\/mail\/ABC': \/mail has no object 'ABC'/)

  const shown = await ok(['show', '/mail/XYZ'])
  t.match(shown, new RegExp(`^spool +${join(cwd, 'data', 'maildrop', 'spool')}$`, 'm'), 'absolute')
  t.equal(
    await ok(['tree']),
    '/  Application\n├── mail  Folder\n│   └── XYZ  MaildropHost\n└── shop  Folder\n    └── hello  Template\n',
  )
  t.match(JSON.parse(await ok(['tree', '--json'])), {
    path: '/',
    type: 'Application',
    children: [{ name: 'mail', children: [{ path: '/mail/XYZ', type: 'MaildropHost' }] }, { name: 'shop' }],
  })
  t.match(JSON.parse(await ok(['ls', '/mail', '--json'])), [{ name: 'XYZ', path: '/mail/XYZ', title: '@home' }])
  t.match(JSON.parse(await ok(['show', '/mail/XYZ', '--json'])), {
    path: '/mail/XYZ',
    properties: { title: '@home', transactional: true },
    settings: { spool: join(cwd, 'data', 'maildrop', 'spool') },
  })

  await fails(['rm', '/mail'], /not empty; use --recursive/)
  await fails(['rm', '/'], /root of the tree/)
  t.match(await ok(['rm', '/mail/XYZ']), /^removed MaildropHost \/mail\/XYZ\ntake it back with: objtree undo \d+\n$/)
  t.match(await ok(['rm', '/mail']), /^removed Folder \/mail\n/)
  t.equal(await ok(['rm', '-r', '/shop', '--dry-run']), 'would remove Folder /shop and 1 object in it\n')
  t.match(await ok(['rm', '-r', '/shop']), /^removed Folder \/shop and 1 object in it\n/)
  t.equal(await ok(['tree']), '/  Application\n')
})

t.test('what is stored cannot send commands to the terminal', async t => {
  const { ok } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f', 'title=a\u001b[2Jb\nc\u009bd'])
  for (const args of [['ls'], ['show', '/f']]) t.notMatch(await ok(args), /[^\P{Cc}\n\t]/u)
  t.equal(JSON.parse(await ok(['ls', '--json']))[0].title, 'a\u001b[2Jb\nc\u009bd')
})

t.test('an error is one line, whatever it quotes', async t => {
  const { ok, fails, cwd } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f'])
  await mkdir(join(cwd, 'files'))
  for (const text of ['\u001b[2J\n{', '{"format":1,\n"x\u001b[2J\n":2}']) {
    await writeFile(join(cwd, 'files', '.objtree.json'), text)
    await fails(['import-dir', 'files', '/f'], /^[^\u001b]*\.objtree\.json[^\u001b]*$/)
  }
  await fails(['show', '/a\nb\u001b[2Jc'], /^[^\u001b]*nothing at[^\u001b]*$/)
  await writeFile(join(cwd, 'bad.mjs'), 'throw new Error("one\\ntwo\u001b[2J")')
  await fails(['ls', '--require', 'bad.mjs'], /cannot be loaded: one/)
  await fails(['ls', '--', '-x'], /nothing is taken after --, found "-x"/, 2)
  await fails(['tre'], /there is no command 'tre'; did you mean tree\?/, 2)
  await fails(['a\u001b[2J\nb'], /there is no command '[^\u001b]*'/, 2)
})

t.test('render prints a page of the tree or of a file, and commits the mail it sends', async t => {
  const { ok, fails, cwd } = await objtreeUser(t)
  await ok(['add', 'MaildropHost', '/mail/XYZ', '--parents'])
  const page =
    '<b><<name>></b>\n<<#sendmail mailhost="XYZ" mailto="ann@example.org" mailfrom="me@example.org" subject=name>>\nHi\n<</sendmail>>\n'
  await writeFile(join(cwd, 'page.hbs'), page)
  t.equal(await ok(['render', 'page.hbs', '--data', '{"name":"<Ann>"}', '--context', '/mail']), '<b>&lt;Ann&gt;</b>\n')
  await ok(['add', 'Template', '/mail/page', 'source=@page.hbs'])
  await writeFile(join(cwd, 'data.json'), '{"name":"Söhne"}')
  t.equal(await ok(['render', '/mail/page', '--data', '@data.json']), '<b>Söhne</b>\n')
  const sent = await Promise.all(mails(cwd).map(mail => simpleParser(mail.replace(/^##.*\n/gm, ''))))
  t.same(
    sent.map(({ subject }) => subject),
    ['<Ann>', 'Söhne'],
  )

  await fails(['render', 'page.hbs', '--data', '{"name":"x"}'], /page\.hbs:2:\d+: .*XYZ/)
  await fails(['render', 'nowhere.hbs'], /neither a template in the tree nor a file at 'nowhere\.hbs'/)
  await fails(['render', '/mail/XYZ'], /MaildropHost, expected a Template/)
  await fails(['render', 'page.hbs', '--context', '/nix'], /nothing at '\/nix'/)
  await fails(['render', 'page.hbs', '--data', '{'], /--data is not JSON/, 2)
  await fails(['render', 'page.hbs', '--data', '[1]'], /expected a JSON object/, 2)
  await fails(['render', 'page.hbs', '--data', '@missing.json'], /missing\.json/)
  await writeFile(join(cwd, 'bad.hbs'), 'one\n<<#if x>>\nnever closed')
  await fails(['render', 'bad.hbs'], /bad\.hbs:\d+:\d+: /)
  t.equal(mails(cwd).length, 2, 'what failed sent nothing')
})

t.test('render --preview shows what would be sent, and sends nothing', async t => {
  const { ok, fails, cwd } = await objtreeUser(t)
  await ok(['add', 'MaildropHost', '/mail/XYZ', '--parents'])
  await writeFile(join(cwd, 'logo.png'), Buffer.of(0x89, 0x50, 0, 0xff))
  await ok(['add', 'File', '/mail/logo.png', 'content=@logo.png', 'title=Logo'])
  await writeFile(
    join(cwd, 'page.hbs'),
    `page of <<name>>
<<#sendmail "XYZ" mailto="ann@example.org" mailfrom="me@example.org" subject=name>>
<<#mime>><<#part type="text/html">><p>Dear <<name>></p><</part>><<attach file="logo.png">><</mime>>
<</sendmail>>`,
  )
  const args = ['render', 'page.hbs', '--context', '/mail', '--data', '{"name":"Zoë <b>"}', '--preview']
  const shown = await ok(args)
  t.match(
    shown,
    /^message 1 of 1, \d+ bytes, through \/mail\/XYZ\n {2}sender {6}me@example\.org\n {2}recipient {3}ann@/,
  )
  t.match(shown, /\n {2}Subject: Zoë <b>\n/)
  t.match(shown, /\n {4}Dear Zoë <b>\n/)
  t.match(shown, /attachment {2}logo\.png {2}image\/png {2}4 bytes/)
  const file = /HTML {8}(\S+)/.exec(shown)?.[1] ?? ''
  t.match(await readFile(file, 'utf8'), '<p>Dear Zoë &lt;b&gt;</p>')
  await rm(dirname(file), { recursive: true })
  const { page, messages } = JSON.parse(await ok([...args, '--json']))
  t.equal(page, 'page of Zoë &lt;b&gt;\n')
  t.match(messages, [
    {
      host: '/mail/XYZ',
      envelope: { from: 'me@example.org', to: ['ann@example.org'] },
      attachments: [{ filename: 'logo.png', type: 'image/png', size: 4 }],
    },
  ])
  await writeFile(join(cwd, 'silent.hbs'), 'nothing')
  t.equal(await ok(['render', 'silent.hbs', '--preview']), 'the page sends no mail\n')
  t.same(mails(cwd), [], 'nothing was sent')
  await fails(['render', 'page.hbs', '--preview'], /no mail host/)
  t.same(JSON.parse(await ok(['render', 'silent.hbs', '--json'])), { page: 'nothing' })
})

t.test('send puts the message on standard input into the spool and prints its Message-ID', async t => {
  const { ok, fails, cwd } = await objtreeUser(t)
  await ok(['add', 'MaildropHost', '/mail/XYZ', '--parents'])
  const id = (await ok(['send', '/mail/XYZ'], MESSAGE)).trim()
  t.match(id, /^<\S+@example\.org>$/)
  const other = ['--to', 'x@example.org, "Y, Z" <y@example.org>', '--from', 'z@example.org', '--subject', 'Näw']
  await ok(['send', '/mail/XYZ', ...other], MESSAGE)
  const [first, second] = mails(cwd)
  t.match(first, `Message-ID: ${id}\r\n`)
  t.match(first, '##To:ann@example.org\n##From:me@example.org\n')
  t.match(second, '##To:x@example.org,y@example.org\n##From:z@example.org\n')
  t.equal((await simpleParser(second!.replace(/^##.*\n/gm, ''))).subject, 'Näw')

  await fails(['send', '/mail/XYZ', '--to', 'no address'], /no address/, 1, MESSAGE)
  await fails(['send', '/mail/XYZ', '--to', 'a@example.org\nBcc: b@example.org'], /\\n|address/, 1, MESSAGE)
  await fails(['send', '/mail/XYZ'], /From/, 1, 'Subject: x\n\nno sender\n')
  await fails(['send', '/mail/XYZ'], /recipient/i, 1, 'From: a@example.org\n\nno recipient\n')
  await fails(['send', '/mail'], /Folder/, 1, MESSAGE)
  await fails(['send', '/nix'], /nothing at '\/nix'/, 1, MESSAGE)
  t.equal(mails(cwd).length, 2)
})

t.test('wrong usage exits with 2 and points to the help', async t => {
  const { fails, ok, cwd } = await objtreeUser(t, { init: false })
  for (const args of [
    [],
    ['frobnicate'],
    ['ls', '--frob'],
    ['add', 'Folder'],
    ['set', '/x'],
    ['send'],
    ['ls', '/', '/'],
    ['ls', '--db'],
  ])
    await fails(args, /see objtree (\w+ )?--help/, 2)
  await fails(['frobnicate'], /there is no command 'frobnicate'; see objtree --help/, 2)
  await fails(['history'], /expected: objtree history <path>; see objtree history --help/, 2)
  await fails(['ls', '--frob'], /Unknown argument: frob; see objtree ls --help/, 2)
  await fails(['--db', 'data', 'ls'], /there is no database at .*; create it with/)
  await mkdir(join(cwd, 'empty'))
  await fails(['--db', 'empty', 'ls'], /there is no database at .*empty; create it with/)
  t.match(await ok(['--version']), /^\d+\.\d+\.\d+\n$/)
  t.equal(await ok(['ls', '-h']), await ok(['ls', '--help']))
  t.match(await ok(['--help']), /objtree add +create an object/)
  for (const command of ['init', 'ls', 'tree', 'show', 'add', 'set', 'rm', 'render', 'send'])
    t.match(await ok([command, '--help']), /Examples:\n/, `${command} --help has an example`)
})

t.test('output that cannot be written is a failure; a reader that has gone is none', async t => {
  const { cwd, ok } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f'])
  const sh = (line: string) => program(cwd, 'sh', ['-c', line.replace('objtree', join(TOP, 'bin', 'objtree'))])
  for (const line of ['objtree ls > /dev/full', 'objtree export /f > /dev/full'])
    t.match(await sh(line), { code: 1, stderr: /^objtree: the output cannot be written: ENOSPC[^\n]*\n$/ }, line)
  t.match(await sh('objtree log | true'), { code: 0, stderr: '' })
  await writeFile(join(cwd, 'much'), 'x'.repeat(4_000_000))
  await ok(['add', 'File', '/f/much', 'content=@much'])
  t.match(await sh('objtree export /f | (sleep 0.2; wc -c)'), { code: 0, stderr: '', stdout: /^\s*400\d{4}\n$/ })
})

t.test('JSON is the same in pieces', async t => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), value => {
      t.equal([...jsonPieces(value)].join(''), JSON.stringify(value, null, 2))
    }),
    { numRuns: 200 },
  )
  const odd = { a: undefined, b: [undefined, { c: undefined }, []], d: new Date(0) }
  t.equal([...jsonPieces(odd)].join(''), JSON.stringify(odd, null, 2))
})

t.test('a spool that cannot be written is a warning: the mail is committed and waits in the database', async t => {
  const { ok, run, cwd } = await objtreeUser(t)
  await ok(['add', 'MaildropHost', '/mail/XYZ', '--parents'])
  await mkdir(join(cwd, 'data', 'maildrop'), { recursive: true })
  await writeFile(join(cwd, 'data', 'maildrop', 'spool'), 'in the way')
  const { code, stdout, stderr } = await run(['send', '/mail/XYZ'], MESSAGE)
  t.equal(code, 0)
  t.match(stdout, /^<\S+>\n$/)
  t.match(stderr, /^objtree: warning: 1 committed mail could not be published yet[^\n]*\n$/)
  await program(cwd, 'mv', ['data/maildrop/spool', 'data/maildrop/aside'])
  await ok(['ls'])
  t.equal(mails(cwd).length, 1, 'the next opening publishes it')
})

t.test('without its compiled code the launcher says what to do', async t => {
  const cwd = await directory(t)
  await mkdir(join(cwd, 'bin'))
  await writeFile(join(cwd, 'bin', 'objtree'), await readFile(join(TOP, 'bin', 'objtree')))
  await chmod(join(cwd, 'bin', 'objtree'), 0o755)
  const { code, stderr } = await program(cwd, 'sh', ['-c', './bin/objtree ls'])
  t.equal(code, 1)
  t.match(stderr, /^objtree: .*run npm ci[^\n]*\n$/)
})
