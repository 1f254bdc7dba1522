/** Commands on a database that an application has open: carried out there, whatever happens to either process. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lstatSync, mkdirSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { openElsewhere } from '../../administration/remote/open.ts'
import { SOCKET } from '../../administration/socket-path.ts'
import { MAX_REQUEST } from '../../administration/wire.ts'
import { File, Folder, MaildropHost, openDatabase } from '../../objects/index.ts'
import { type Child, launch, launchProgram } from '../support/children.ts'
import { diskProblem, mountSmallDisk } from '../support/disk.ts'
import { mailsIn } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { directory, type Outcome, program, TOP } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

interface Shop {
  readonly cwd: string
  readonly db: string
  readonly socket: string
  /** Starts the application. */
  start(options?: object): Promise<Child>
  objtree(...args: string[]): Promise<Outcome>
  /** Starts a command that adds `/slow` with what comes out of a pipe. */
  slow(): Child
  /** Waits until somebody reads the pipe. @returns what writes into it, to the end */
  reading(): Promise<() => Promise<void>>
}

async function shop(t: Test, subdirectory = 'db'): Promise<Shop> {
  const cwd = await directory(t)
  const db = join(cwd, subdirectory)
  const pipe = join(cwd, 'pipe')
  execFileSync('mkfifo', [pipe])
  return {
    cwd,
    db,
    socket: join(db, SOCKET),
    async start(options = {}) {
      const child = launch(t, 'tests/support/application.ts', [db, JSON.stringify(options)], { cwd })
      await waitFor('the application', () => child.output().includes('open\n'))
      return child
    },
    objtree: (...args) => program(cwd, 'bin/objtree', ['--db', db, ...args]),
    slow: () =>
      launchProgram(t, join(TOP, 'bin/objtree'), ['--db', db, 'add', 'File', '/slow', `content=@${pipe}`], {
        cwd,
      }),
    async reading() {
      const script = 'exec 3>"$1"; echo opened; read line; echo text >&3'
      const writer = spawn('sh', ['-c', script, 'sh', pipe], { stdio: ['pipe', 'pipe', 'inherit'] })
      t.teardown(() => writer.kill('SIGKILL'))
      const ended = once(writer, 'close')
      await once(writer.stdout, 'data')
      return async () => {
        writer.stdin.end('\n')
        await ended
      }
    },
  }
}

/** Says something on the socket, and gives what is answered. */
async function say(socket: string, what: string | Buffer): Promise<string> {
  const connection = connect(socket)
  connection.on('error', () => undefined)
  connection.write(what)
  return await text(connection).catch(() => 'cut off')
}

t.test('the same commands give the same results, and the classes of the application are known', async t => {
  const { start, objtree, socket, db } = await shop(t)
  const application = await start()
  t.equal(lstatSync(socket).mode & 0o777, 0o600)
  t.match(await objtree('init'), { code: 0, stdout: `there is an object database in ${db} already\n`, stderr: '' })
  t.same(await objtree('set', '/order', 'amount=7'), { code: 0, stdout: 'changed /order\n', stderr: '' })
  t.match(await objtree('show', '/order'), { code: 0, stdout: /^amount +number +7$/m })
  t.equal((await objtree('add', 'Template', '/shop/page', '--parents', 'source=Hello <<name>>')).code, 0)
  const lines = [
    ['ls'],
    ['ls', '--json'],
    ['tree', '--json'],
    ['show', '/shop/page', '--json'],
    ['render', '/shop/page', '--data', '{"name":"Ann"}'],
    ['render', '/shop/page', '--data', '{'],
    ['ls', '/nowhere'],
    ['set', '/shop/page', 'source=<<#if x>>'],
    ['set', '/shop/page', 'titel=x'],
    ['add', 'Folder', '/shop'],
    ['rm', '/shop'],
  ]
  const there = []
  for (const line of lines) there.push(await objtree(...line))
  application.process.kill('SIGTERM')
  t.match(await application.ended, { end: 0, stderr: '' })
  t.notOk(existsSync(socket), 'closing the database takes the socket away')
  for (const [i, line] of lines.entries()) t.same(await objtree(...line), there[i], line.join(' '))
})

t.test('without the socket the message says who has the database open, and why it cannot be reached', async t => {
  const { start, objtree, socket } = await shop(t)
  const application = await start({ socket: false })
  t.notOk(existsSync(socket))
  const { code, stderr } = await objtree('ls')
  t.equal(code, 1)
  t.match(stderr, new RegExp(`^objtree: [^\n]*process ${application.pid} [^\n]*socket: false[^\n]*\n$`))
  t.notMatch(stderr, /stop/)
})

t.test('a path that is too long for a socket is none for us', async t => {
  const { start, objtree, db } = await shop(t, join('a'.repeat(120), 'b'.repeat(120)))
  const application = await start()
  t.match(await objtree('ls'), { code: 0, stdout: 'order\tOrder\t\n' })
  t.same(await objtree('add', 'Folder', '/f'), { code: 0, stdout: 'added Folder /f\n', stderr: '' })
  application.process.kill('SIGTERM')
  t.match(await application.ended, { end: 0, stderr: '' })
  t.notOk(existsSync(join(db, SOCKET)))
})

t.test('a client that is killed leaves nothing behind', async t => {
  const { start, objtree, slow, reading } = await shop(t)
  await start()
  const client = slow()
  const write = await reading()
  client.process.kill('SIGKILL')
  await client.ended
  await write()
  for (const name of ['a', 'b', 'c']) t.equal((await objtree('add', 'Folder', `/${name}`)).code, 0, 'others go on')
  t.equal((await objtree('ls')).stdout, 'a\tFolder\t\nb\tFolder\t\nc\tFolder\t\norder\tOrder\t\n')
})

t.test('when the application is killed, the client says that it does not know; nothing is damaged', async t => {
  const { start, objtree, slow, reading, socket } = await shop(t)
  const application = await start()
  const client = slow()
  await reading()
  application.process.kill('SIGKILL')
  const { end, stdout, stderr } = await client.ended
  t.same([end, stdout], [1, ''])
  t.match(
    stderr,
    /^objtree: the process that has [^\n]* open ended while it carried out the command; 'objtree log' [^\n]*\n$/,
  )
  t.ok(existsSync(socket), 'the name is left')
  t.match(await objtree('ls'), { code: 0, stdout: 'order\tOrder\t\n', stderr: '' })
  t.ok(existsSync(socket))
  await start()
  t.match(await objtree('show', '/order'), { code: 0, stdout: /^amount/m }, 'and the next one replaces it')
})

t.test('when the application closes the database, the command is carried out here', async t => {
  const { start, objtree, slow, reading, socket } = await shop(t)
  const application = await start()
  const client = slow()
  const write = await reading()
  application.process.kill('SIGTERM')
  await waitFor('the closing', () => !existsSync(socket))
  await write()
  await application.ended
  const again = await reading()
  await again()
  t.match(await client.ended, { end: 0, stdout: 'added File /slow\n', stderr: '' })
  t.match(await objtree('ls'), { stdout: 'order\tOrder\t\nslow\tFile\t\n' })
})

t.test('commands at the same time wait for each other', async t => {
  const { start, objtree, db, socket } = await shop(t)
  const application = await start()
  application.process.kill('SIGTERM')
  await application.ended
  t.notOk(existsSync(socket), db)
  const outcomes = await Promise.all(['a', 'b', 'c'].map(name => objtree('add', 'Folder', `/${name}`)))
  t.same(
    outcomes.map(({ code, stderr }) => [code, stderr]),
    outcomes.map(() => [0, '']),
  )
})

t.test('rubbish is answered with an error, or cut off, and disturbs nobody', async t => {
  const { start, objtree, socket } = await shop(t)
  const application = await start()
  const request = { objtree: 1, command: 'ls', args: { path: '/' }, user: 'ann', note: 'test' }
  const error = async (what: object | string): Promise<string> => {
    const answered = await say(socket, typeof what === 'string' ? what : `${JSON.stringify(what)}\n`)
    const { error } = JSON.parse(answered.trim().split('\n').at(-1) ?? '')
    t.type(error.message, 'string')
    return `${error.code} ${error.message}`
  }
  t.match(await say(socket, `${JSON.stringify(request)}\n`), /^\{"accepted":true\}\n\{"result":\[.*\]\}\n$/)
  for (const line of ['\n', 'rubbish\n', '[]\n', 'null\n', '"x"\n', '\u0000\u0001\n'])
    t.match(await error(line), /^INVALID_ARGUMENT the request is not understood/)
  t.match(await error({ ...request, objtree: 2 }), /different versions/)
  t.match(await error({ ...request, more: 1 }), /not understood/)
  t.match(await error({ ...request, args: [] }), /args/)
  t.match(await error({ ...request, user: 'x'.repeat(1000) }), /user/)
  t.match(await error({ ...request, command: '__proto__' }), /no command '__proto__'/)
  t.match(await error({ ...request, command: 'init' }), /not carried out by the process/)
  for (const args of [{}, { path: 7 }, { path: {} }, { path: null }]) await error({ ...request, args })
  t.match(await error(Buffer.alloc(MAX_REQUEST + 10, 120).toString()), /too much/)
  t.equal(
    await say(socket, `${JSON.stringify(request)}\n${JSON.stringify(request)}\n`).then(said => said.includes('result')),
    false,
  )
  const silent = Array.from({ length: 20 }, () => connect(socket).on('error', () => undefined))
  await Promise.all(silent.map(each => once(each, 'connect')))
  for (const each of silent.slice(0, 10)) each.destroy()
  t.match(await objtree('ls'), { code: 0, stdout: 'order\tOrder\t\n', stderr: '' })
  application.process.kill('SIGTERM')
  t.match(await application.ended, { end: 0, stderr: '' }, 'it waits for nobody who asks for nothing')
  for (const each of silent) each.destroy()
})

t.test('a guest works in the database that another process has open', async t => {
  const { cwd, db, start, objtree } = await shop(t)
  process.env.MAILDROP_HOME = join(cwd, 'maildrop')
  const application = await start()
  const guest = (await openElsewhere(db, 'ann'))!
  const other = (await openElsewhere(db, 'bob'))!
  t.teardown(() => Promise.all([guest.close(), other.close()]))
  await guest.transact(app => void (app.create('/shop', new Folder()).title = 'A'), { user: 'ann', note: 'guest' })
  t.match(await objtree('log', '-n', '1', '--user', 'ann'), { stdout: /guest\n$/ })

  const [mine, yours] = [guest.open(), other.open()]
  const folder = (connection: typeof mine) => connection.root.traverse('/shop', Folder)
  folder(mine).add('mine', new Folder())
  folder(yours).add('yours', new Folder())
  await mine.transaction.commit()
  await yours.transaction.commit()
  t.same((await objtree('ls', '/shop')).stdout, 'mine\tFolder\t\nyours\tFolder\t\n', 'different names are merged')
  folder(mine).title = 'mine'
  t.equal((await objtree('set', '/shop', 'title=B')).code, 0)
  await t.rejects(mine.transaction.commit(), { code: 'CONFLICT' })
  await mine.transaction.abort()
  t.equal(folder(mine).title, 'B', 'the next view has what was committed')
  mine.close()
  yours.close()

  await guest.transact(async app => {
    await (app.create('/file', new File()) as File).write('content'.repeat(1000))
    const host = app.create('/mail', new MaildropHost())
    await host.simpleSend('a@example.org', 'b@example.org', 'Small', 'Text')
    await host.simpleSend('a@example.org', 'b@example.org', 'Large', 'Text\n'.repeat(30_000))
  })
  await waitFor('the mail', () => mailsIn(join(cwd, 'maildrop', 'spool')).length === 2)
  t.equal((await guest.transact(app => app.traverse('/file', File).bytes())).length, 7000)
  t.match(await objtree('verify'), { code: 0 })
  t.match(await guest.pack(), { packed: Number }, 'the application packs')

  application.process.kill('SIGKILL')
  await application.ended
  await t.rejects(
    guest.transact(app => void (app.title = 'lost')),
    { code: 'DATABASE_CLOSED' },
  )
  t.match(await objtree('verify'), { code: 0 })
})

t.test('a guest goes on by itself, too, when the disk was full', needs(diskProblem()), async t => {
  const { cwd, db, start, objtree } = await shop(t, 'disk/db')
  const disk = mountSmallDisk(t, join(cwd, 'disk'), 8192)
  await start()
  const guest = (await openElsewhere(db, 'ann'))!
  t.teardown(() => guest.close())
  const view = guest.open()
  const change = () => guest.transact(app => void (app.create('/folder', new Folder()).title = 'x'.repeat(20_000)))
  disk.fill()
  await t.rejects(change(), { code: 'DATABASE_FAILED', message: /goes on by itself/ })
  t.notOk(await guest.transact(app => app.has('folder')), 'reading goes on')
  disk.free()
  const goesOn = () =>
    change().then(
      () => true,
      ({ code }) => code !== 'DATABASE_FAILED' && Promise.reject(new Error(code)),
    )
  await waitFor('the database to go on', goesOn)
  t.notOk(view.root.has('folder'), 'its view goes on')
  view.close()
  t.ok(await guest.transact(app => app.has('folder')))
  t.match(await objtree('verify'), { code: 0 })
})

t.test('rubbish from a guest ends its connection, or is answered, and disturbs nobody', async t => {
  const { start, objtree, socket, db } = await shop(t)
  await start()
  const greeting = '{"objtree":1,"command":"storage","args":{},"user":"ann","note":""}\n'
  const patient = async (what: string) => {
    const connection = connect(socket)
    connection.on('error', () => undefined)
    connection.write(greeting)
    const answer: string[] = []
    for await (const piece of connection) {
      answer.push(String(piece))
      if (answer.length === 1) connection.write(what)
      else connection.end()
    }
    return answer.slice(1).join('')
  }
  t.equal(await patient('nonsense\n'), '')
  t.equal(await patient('{"op":"state"}\n'), '')
  for (const said of [
    { op: 'evaluate', code: '1 + 1' },
    { op: 'load', snapshot: 77, oid: 1 },
    { op: 'oids', count: 1e9 },
    { op: '__proto__' },
    { op: 'commit', about: { tid: 1, bytes: 'AAAA' }, changes: [], reads: [], outbox: [] },
    { op: 'load', snapshot: 1, oid: 1, more: true },
  ])
    t.match(JSON.parse(await patient(`${JSON.stringify({ id: 1, ...said })}\n`)), { id: 1, error: { code: String } })
  t.match(await objtree('ls'), { code: 0 })
  t.equal(await openElsewhere(`${db}-not`, 'ann'), undefined)
})

t.test('a guest that leaves while it is let in disturbs nobody', async t => {
  const place = await directory(t)
  const db = await openDatabase(place)
  t.teardown(() => db.close())
  const unhandled: unknown[] = []
  const listener = (error: unknown) => void unhandled.push(error)
  process.on('unhandledRejection', listener)
  const another = () => openElsewhere(place, 'ann')
  // from now on its code is loaded, so a guest is let in at once
  await (await another())?.close()
  for (let i = 0; i < 50; i++) {
    const guest = connect(join(place, SOCKET))
    guest.on('error', () => undefined)
    guest.write('{"objtree":1,"command":"storage","args":{},"user":"u","note":""}\n', () => guest.destroy())
    await once(guest, 'close')
  }
  const guest = await another()
  t.ok(guest, 'others are let in')
  await guest?.close()
  process.off('unhandledRejection', listener)
  t.same(unhandled, [])
})

t.test('where no socket can be made, the database is open without it', async t => {
  const { start, objtree, socket, db } = await shop(t)
  mkdirSync(join(socket, 'in-the-way'), { recursive: true })
  const application = await start()
  await waitFor('the warning', () => /objtree cannot reach the open database/.test(application.output()))
  t.match(await objtree('ls'), { code: 1, stderr: /in use/ })
  t.ok(existsSync(join(db, 'CURRENT')))
})
