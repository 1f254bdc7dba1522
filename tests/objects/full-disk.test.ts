/** A disk that fills up (a limit on the size of files, which fails writes the same way): what was acknowledged stays, and its mail leaves once. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import type { Level } from '../../lib/index.ts'
import { Blob, exportTree, importTree, MaildropHost, openDatabase, restoreDatabase } from '../../objects/index.ts'
import { LOADER, launchProgram, PROJECT } from '../support/children.ts'
import { diskProblem, mountSmallDisk } from '../support/disk.ts'
import { mailsIn } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { directory } from '../support/program.ts'

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
