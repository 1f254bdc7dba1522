/** A disk that fills up (a limit on the size of files, which fails writes the same way): what was acknowledged stays, and its mail leaves once. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { openElsewhere } from '../../administration/remote/open.ts'
import type { Level } from '../../lib/index.ts'
import { listHeld } from '../../maildrop/index.ts'
import { Blob, exportTree, importTree, MaildropHost, openDatabase, restoreDatabase } from '../../objects/index.ts'
import { LOADER, launch, launchProgram, PROJECT } from '../support/children.ts'
import { diskProblem, mountSmallDisk } from '../support/disk.ts'
import { failNextWrite } from '../support/failing-writes.ts'
import { mailsIn } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { directory } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'

const yes = () => true
const no = () => false
// nothing else keeps the process alive until the database goes on
const alive = setInterval(() => undefined, 1000)
t.teardown(() => clearInterval(alive))
process.removeAllListeners('warning')

/** Runs the filler with files of at most so many KiB. */
async function fill(t: import('tap').Test, home: string, count: number, bytes: number, limit: number) {
  const node = `exec "${process.execPath}" ${LOADER} "${PROJECT}tests/support/filler.ts" "${home}" ${count} ${bytes}`
  const child = launchProgram(t, 'bash', ['-c', `trap '' XFSZ; ulimit -f ${limit}; ${node}`], {
    cwd: PROJECT,
  })
  const { end, stdout, stderr } = await child.ended
  t.equal(end, 0, stderr)
  const lines = stdout.trim().split('\n')
  return {
    done: lines.flatMap(line => (line.startsWith('done ') ? [line.slice(5)] : [])),
    errors: [...new Set(lines.flatMap(line => (line.startsWith('error ') ? [line.slice(6)] : [])))],
  }
}

for (const [what, bytes, limit, code] of [
  ['the database', 20_000, 300, 'DATABASE_FAILED'],
  ['the spool', 400_000, 300, 'SPOOL_FAILED'],
] as const) {
  t.test(
    `${what} cannot grow: transactions fail with ${code}, and nothing acknowledged is lost or sent twice`,
    async t => {
      const home = await directory(t)
      const { done, errors } = await fill(t, home, 40, bytes, limit)
      t.same(errors, [code])
      process.env.MAILDROP_HOME = join(home, 'maildrop')
      const db = await openDatabase(join(home, 'objects'))
      t.equal(
        await db.transact(app => app.title),
        done.at(-1) ?? '',
        'the last acknowledged transaction is the last there is',
      )
      await db.close()
      const subjects = mailsIn(join(home, 'maildrop', 'spool')).map(mail => /^Subject: mail (\d+)/m.exec(mail)?.[1])
      t.same(subjects, done, 'each acknowledged mail is there, once, in order')
      if (what === 'the database') t.ok(done.length > 0, 'some were acknowledged before')
    },
  )
}

for (const [what, failing] of [
  ['its write', 'itself'],
  ['another write meanwhile', 'another'],
] as const) {
  t.test(`a commit that is on disk although ${what} failed has its mail and its blobs at the next opening`, async t => {
    const home = await directory(t)
    process.env.MAILDROP_HOME = join(home, 'maildrop')
    const db = await openDatabase(join(home, 'objects'))
    await db.transact(app => app.create('/mail/XYZ', new MaildropHost(), { parents: true }))
    const { level } = db.storage as unknown as { level: Level }
    const batch = level.batch.bind(level)
    let committing = false
    level.batch = (() => {
      const one = batch()
      const write = one.write.bind(one)
      one.write = (async (options: object) => {
        // the commit; what is written before it is one row that names the spool
        const isCommit = one.length > 1
        if (committing) throw new Error('no answer from the disk')
        committing = isCommit
        if (isCommit && failing === 'another')
          await t.rejects(db.outbox.writeOutbox([['row', new Uint8Array()]], { sync: true }), {
            code: 'DATABASE_FAILED',
          })
        await write(options)
        if (isCommit && failing === 'itself') throw new Error('no answer from the disk')
      }) as typeof one.write
      return one
    }) as typeof level.batch
    const work = db.transact(async app => {
      app.title = 'in doubt'
      await app.create('/blob', new Blob()).write('a content')
      const text = `From: a@example.org\nTo: b@example.org\nSubject: large\n\n${'text\n'.repeat(20_000)}`
      await app.traverse('/mail/XYZ', MaildropHost).send(text)
    })
    await t.rejects(work, { code: 'DATABASE_FAILED' })
    await db.close()
    const again = await openDatabase(join(home, 'objects'))
    t.equal(await again.transact(app => app.title), 'in doubt')
    t.equal(String(await again.transact(app => app.traverse('/blob', Blob).bytes())), 'a content')
    t.match(mailsIn(join(home, 'maildrop', 'spool')), [/Subject: large/])
    await again.close()
  })
}

const disks = needs(diskProblem())
t.test('blobs, imports and copies that the disk has no room for fail, say where, and leave nothing', disks, async t => {
  const home = await directory(t)
  const disk = join(home, 'disk')
  const other = await openDatabase(join(home, 'other'))
  await other.transact(app => app.create('/blob', new Blob()).write(Buffer.alloc(2_000_000)))
  const file = await other.transact(app => buffer(exportTree(app.traverse('/blob'))))
  const { fill, free } = mountSmallDisk(t, disk)
  const db = await openDatabase(join(disk, 'objects'))
  const left = () => readdirSync(join(disk, 'objects/blobs'), { recursive: true })
  const unwritten = { code: 'DATABASE_FAILED', message: /disk\/objects\/blobs\/new: ENOSPC.*nothing of it is kept/ }
  await t.rejects(
    db.transact(async app => {
      app.title = 'with a blob'
      await app.create('/blob', new Blob()).write(Buffer.alloc(2_000_000))
    }),
    unwritten,
  )
  await t.rejects(
    db.transact(async app => {
      app.title = 'with an import'
      await importTree(app, 'blob', [file])
    }),
    unwritten,
  )
  await t.rejects(
    db.transact(app => app.create('/blob', new Blob()).write(failing())),
    /^the source failed$/,
    'what the source throws is passed on',
  )
  t.same(left(), ['new'])
  t.same(await db.transact(app => [app.title, app.ids()]), ['', []])
  await other.backup(join(home, 'backup'))
  for (const [place, copy] of [
    ['backup', (place: string) => other.backup(place)],
    ['restored', (place: string) => restoreDatabase(join(home, 'backup'), place)],
  ] as const) {
    const code = { code: 'DATABASE_FAILED', message: new RegExp(`/disk/${place} could not be written: ENOSPC`) }
    await t.rejects(copy(join(disk, place)), code, 'no room for the content of a blob')
    fill()
    const message = new RegExp(`/disk/${place} could not be written: .*[Nn]o space left`)
    await t.rejects(copy(join(disk, place)), { code: 'DATABASE_FAILED', message }, 'nor for anything')
    free()
  }
  t.same(readdirSync(disk), ['objects'])
  await other.close()
  await db.transact(async app => {
    await app.create('/blob', new Blob()).write('small')
  })
  t.match(await db.verify(), { ok: true })
  await db.close()
})

async function* failing(): AsyncGenerator<Uint8Array> {
  yield Buffer.alloc(1000)
  throw new Error('the source failed')
}

t.test(
  "a guest's commit in doubt that was written: its mail is published by the process that has the database, once",
  async t => {
    const home = await directory(t)
    process.env.MAILDROP_HOME = join(home, 'maildrop')
    const program = `
    const { openDatabase } = await import('${PROJECT}objects/index.ts')
    const { failNextWrite } = await import('${PROJECT}tests/support/failing-writes.ts')
    process.on('warning', () => undefined)
    const db = await openDatabase(process.argv[1])
    process.on('SIGUSR2', () => {
      failNextWrite(db, { written: true })
      console.log('fails next')
    })
    setInterval(() => undefined, 1000)
    console.log('open')`
    const location = join(home, 'objects')
    const args = [LOADER, '--input-type=module', '-e', program, location]
    const holder = launchProgram(t, process.execPath, args, { cwd: PROJECT })
    await waitFor('the holder', () => holder.output().includes('open\n'))
    const guest = (await openElsewhere(location, 'ann'))!
    await guest.transact(app => void app.create('/mail', new MaildropHost()))
    holder.process.kill('SIGUSR2')
    await waitFor('the holder', () => holder.output().includes('fails next'))
    const send = (subject: string) =>
      guest.transact(app =>
        app.traverse('/mail', MaildropHost).simpleSend('a@example.org', 'b@example.org', subject, 'Text'),
      )
    await t.rejects(send('in doubt'), { code: 'DATABASE_FAILED' })
    await waitFor('the database to go on', () => send('later').then(yes, no))
    await waitFor('the mail', () => mailsIn(join(home, 'maildrop', 'spool')).length === 2)
    await guest.close()
    holder.process.kill('SIGKILL')
    await holder.ended
    await (await openDatabase(location)).close()
    const subjects = mailsIn(join(home, 'maildrop', 'spool')).map(mail => /^Subject: (.*)/m.exec(mail)?.[1])
    t.same(subjects.sort(), ['in doubt', 'later'])
  },
)

for (const written of [true, false])
  t.test(
    `a commit in doubt that was ${written ? '' : 'not '}written: its mail is ${written ? 'published, once' : 'forgotten'}`,
    async t => {
      const home = await directory(t)
      const spool = join(home, 'maildrop', 'spool')
      process.env.MAILDROP_HOME = join(home, 'maildrop')
      const db = await openDatabase(join(home, 'objects'))
      await db.transact(app => void app.create('/mail', new MaildropHost()))
      const send = (subject: string) =>
        db.transact(async app => {
          app.title = subject
          for (const size of [1, 20_000]) {
            const text = `From: a@example.org\nTo: b@example.org\nSubject: ${subject}\n\n${'text\n'.repeat(size)}`
            await app.traverse('/mail', MaildropHost).send(text)
          }
        })
      failNextWrite(db, { written })
      await t.rejects(send('in doubt'), { code: 'DATABASE_FAILED', inDoubt: true })
      t.equal((await listHeld(spool)).length, 1, 'the large one is kept')
      await waitFor('the database to go on', () => send('later').then(yes, no))
      await waitFor('the spool', async () => mailsIn(spool).length >= (written ? 4 : 2))
      await waitFor('what was held', async () => (await listHeld(spool)).length === 0)
      await db.close()
      const again = await openDatabase(join(home, 'objects'))
      const subjects = mailsIn(spool).map(mail => /^Subject: (.*)/m.exec(mail)?.[1])
      t.same(subjects.sort(), [...(written ? ['in doubt', 'in doubt'] : []), 'later', 'later'])
      await again.close()
    },
  )

t.test(
  'a disk that is full again and again, and a kill: all that was acknowledged is there, nothing that was refused, each mail once',
  needs(diskProblem()),
  async t => {
    const home = await directory(t)
    const disk = mountSmallDisk(t, home, 16_384)
    const child = launch(t, 'tests/support/endurance.ts', [home])
    const said = (word: string) =>
      child
        .output()
        .split('\n')
        .flatMap(line => (line.startsWith(`${word} `) ? [line.slice(word.length + 1)] : []))
    const more = async (word: string, count: number) => {
      const before = said(word).length
      await waitFor(`more ${word}`, () => {
        if (child.process.exitCode !== null) throw new Error(child.output())
        return said(word).length >= before + count
      })
    }
    await more('done', 10)
    for (let round = 0; round < 3; round++) {
      disk.fill()
      await more('failed', 4)
      disk.free()
      await more('done', 5 + Math.floor(Math.random() * 30))
    }
    const full = Math.random() < 0.5
    if (full) {
      disk.fill()
      await more('failed', 1)
    }
    child.process.kill('SIGKILL')
    await child.ended
    if (full) disk.free()

    process.env.MAILDROP_HOME = join(home, 'maildrop')
    const db = await openDatabase(join(home, 'objects'))
    const there = new Set(await db.transact(app => app.ids().filter(name => name !== 'XYZ')))
    const done = said('done')
    const outcomes = said('outcome')
    const told = outcomes.flatMap(line => (line.endsWith(' true') ? [line.slice(0, -5)] : []))
    t.same(
      [...done, ...told].filter(n => !there.has(n)),
      [],
      'what was acknowledged is there',
    )
    const ended = [
      ...done,
      ...said('failed').map(line => line.split(' ')[0]),
      ...outcomes.map(line => line.split(' ')[0]),
    ]
    const open = said('begin').filter(n => !ended.includes(n))
    t.same(
      [...there].filter(n => ![...done, ...told, ...open].includes(n)),
      [],
      'what was refused is not',
    )
    const subjects = mailsIn(join(home, 'maildrop', 'spool')).map(mail => /^Subject: mail (\d+)/m.exec(mail)?.[1])
    const mails = [...there].filter(n => Number(n) % 2 === 0)
    const byNumber = (a = '', b = '') => Number(a) - Number(b)
    t.same(subjects.sort(byNumber), mails.sort(byNumber), 'each mail of what is there is published, once')
    for (const n of there)
      if (Number(n) % 3 === 0)
        t.equal(String(await db.transact(app => app.traverse(`/${n}`, Blob).bytes())), n, 'its blob is whole')
    t.ok((await db.verify()).ok)
    await db.close()
  },
)
