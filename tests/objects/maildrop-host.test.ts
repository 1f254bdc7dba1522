/** The mail host in the tree: mail leaves if and only if its transaction commits. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { simpleParser } from 'mailparser'
import t, { type Test } from 'tap'
import { outboxKey } from '../../lib/storage/keys.ts'
import { ensureSpool } from '../../maildrop/index.ts'
import { type Application, type Database, MaildropHost, openDatabase } from '../../objects/index.ts'
import { PUBLISH_CHANNEL } from '../../objects/mail-publisher.ts'
import { mailSystemOf } from '../../objects/mail-system.ts'
import { mailKey, mailRow } from '../../objects/outgoing-mail.ts'
import { codeOf, newLevel } from '../support/database.ts'
import { mailsIn } from '../support/maildrop.ts'
import { directory, removeDirectory } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'

const MESSAGE = 'From: a@example.org\nTo: b@example.org\nSubject: Hello\n\nThe text.\n'

interface Place {
  readonly db: Database<Application>
  readonly spool: string
  mails(): Promise<string[]>
}

/** A database with a mail host at /mail/XYZ and a spool of its own. */
async function place(t: Test): Promise<Place> {
  const home = await mkdtemp(join(tmpdir(), 'host-'))
  process.env.MAILDROP_HOME = home
  const db = await openDatabase(newLevel())
  await db.transact(app => app.create('/mail/XYZ', new MaildropHost(), { parents: true }))
  t.teardown(async () => {
    await db.close()
    await removeDirectory(home)
  })
  const spool = join(home, 'spool')
  return {
    db,
    spool,
    async mails() {
      await mailSystemOf(db).publisher.settled()
      return mailsIn(spool)
    },
  }
}

const host = (app: Application) => app.traverse('/mail/XYZ', MaildropHost)

t.test('a committed message is in the spool, with its envelope and its id', async t => {
  const { db, mails } = await place(t)
  const id = await db.transact(app => host(app).send(MESSAGE, { subject: 'Grüße' }))
  t.match(id, /^<[a-z0-9.-]+@example\.org>$/)
  const [mail, ...more] = await mails()
  t.same(more, [])
  t.match(mail, /^##Id:[^\n]+\n##Length:\d+\n##To:b@example\.org\n##From:a@example\.org\n/)
  t.match(mail, `Message-ID: ${id}\r\n`)
  t.equal((await simpleParser(mail!.slice(mail!.indexOf('From: ')))).subject, 'Grüße')
  t.match(mail, /\r\n\r\nThe text\.\r\n$/)
})

t.test('a page returns before anything is done about its mail, and mail of many pages shares its steps', async t => {
  const { db, spool, mails } = await place(t)
  const renamed: number[] = []
  const note = (message: unknown) => {
    const { step, ids } = message as { step: string; ids: string[] }
    if (step === 'renamed') renamed.push(ids.length)
  }
  subscribe(PUBLISH_CHANNEL, note)
  t.teardown(() => unsubscribe(PUBLISH_CHANNEL, note))
  await db.transact(app => host(app).send(MESSAGE))
  t.notOk(existsSync(spool))
  t.equal((await mails()).length, 1)
  await Promise.all(Array.from({ length: 100 }, () => db.transact(app => host(app).send(MESSAGE))))
  t.equal((await mails()).length, 101)
  t.equal(
    renamed.reduce((sum, count) => sum + count),
    101,
  )
  t.ok(renamed.length < 50, `${renamed}`)
})

t.test('simpleSend takes recipient, sender, subject and text', async t => {
  const { db, mails } = await place(t)
  await db.transact(app => host(app).simpleSend(['x@example.org', 'y@example.org'], 'me@example.org', 'Hi', 'Text: öä'))
  const [mail] = await mails()
  t.match(mail, '##To:x@example.org,y@example.org\n##From:me@example.org\n')
  t.match(mail, 'Subject: Hi\r\n')
})

t.test('an abort, an error and a rolled-back savepoint leave no message, a retry leaves one', async t => {
  const { db, mails } = await place(t)
  await t.rejects(
    db.transact(async app => {
      await host(app).send(MESSAGE, { subject: 'failed page' })
      throw new Error('the page failed')
    }),
    /the page failed/,
  )
  await db.transact(async (app, tx) => {
    await host(app).send(MESSAGE, { subject: 'before' })
    const savepoint = tx.savepoint()
    await host(app).send(MESSAGE, { subject: 'rolled back' })
    savepoint.rollback()
    await host(app).send(MESSAGE, { subject: 'after' })
  })
  await db.transact(async (app, tx) => {
    const savepoint = tx.savepoint()
    await host(app).send(MESSAGE, { subject: 'first, rolled back' })
    savepoint.rollback()
    await host(app).send(MESSAGE, { subject: 'first that stays' })
  })
  let runs = 0
  await db.transact(async app => {
    app.title = `${++runs}`
    await host(app).send(MESSAGE, { subject: `retry ${runs}` })
    if (runs < 3) await db.transact(other => void Reflect.set(other, 'title', 'interference'))
  })
  const connection = db.open()
  await host(connection.root as Application).send(MESSAGE, { subject: 'aborted' })
  await connection.transaction.abort()
  connection.close()
  const subjects = (await mails()).map(mail => /^Subject: (.*)\r$/m.exec(mail)?.[1])
  t.same(subjects, ['before', 'after', 'first that stays', 'retry 3'])
})

t.test('a large message travels as a held file, and an abort removes it', async t => {
  const { db, spool, mails } = await place(t)
  const large = `${MESSAGE}${'x'.repeat(70)}\n`.repeat(3_000)
  await db.transact(app => host(app).send(large))
  t.equal((await mails()).length, 1)
  await t.rejects(
    db.transact(async (app, tx) => {
      await host(app).send(large)
      tx.join({
        sortKey: 'z',
        prepare: async () => {
          t.equal((await readdir(join(spool, '.held'))).length, 1, 'it is held before the commit')
          throw new Error('refused')
        },
      })
    }),
    /refused/,
  )
  t.same(await readdir(join(spool, '.held')), [])
  t.equal((await mails()).length, 1)
})

t.test('a send that is not awaited is part of the transaction all the same', async t => {
  const { db, mails } = await place(t)
  await db.transact(app => {
    app.title = 'x'
    void host(app).send(MESSAGE)
  })
  t.equal((await mails()).length, 1)
})

t.test('a host sends in the transaction that creates it', async t => {
  const { db, mails } = await place(t)
  await db.transact(app => app.create('/new/host', new MaildropHost(), { parents: true }).send(MESSAGE))
  t.equal((await mails()).length, 1)
})

t.test('a host that is not transactional publishes at once', async t => {
  const { db, mails } = await place(t)
  await t.rejects(
    db.transact(async app => {
      host(app).transactional = false
      await host(app).send(MESSAGE)
      throw new Error('too late')
    }),
  )
  t.equal((await mails()).length, 1)
})

t.test('a message to a hundred recipients is one mail', async t => {
  const { db, mails } = await place(t)
  const to = Array.from({ length: 100 }, (_, i) => `r${i}@example.org`)
  await db.transact(app => host(app).send(MESSAGE, { to }))
  const [mail, ...more] = await mails()
  t.same(more, [])
  t.match(mail, `##To:${to.join()}\n`)
})

t.test('a thousand messages in one transaction are one commit, and all published, once', async t => {
  const { db, mails } = await place(t)
  const before = (await db.undoLog({ last: 100 })).length
  await db.transact(async app => {
    app.title = 'a thousand'
    for (let i = 0; i < 1000; i++) await host(app).send(MESSAGE, { subject: `n${i}` })
  })
  t.equal((await db.undoLog({ last: 100 })).length, before + 1)
  const subjects = (await mails()).map(mail => /^Subject: (.*)\r$/m.exec(mail)?.[1])
  t.same(
    subjects,
    Array.from({ length: 1000 }, (_, i) => `n${i}`),
    'in the order in which they were sent',
  )
})

t.test('bad messages are refused at send, and nothing is stored if the page lets the error out', async t => {
  const { db, mails } = await place(t)
  const failures: [(app: Application) => unknown, string][] = [
    [app => host(app).send(MESSAGE, { to: 'no address' }), 'BAD_ADDRESS'],
    [app => host(app).send('Subject: x\n\nbody'), 'NO_SENDER'],
    [app => host(app).send('From: a@b.c\n\nbody'), 'NO_RECIPIENTS'],
    [app => host(app).send(MESSAGE, { form: 'typo' } as object), 'INVALID_ARGUMENT'],
    [() => new MaildropHost().send(MESSAGE), 'NOT_CONNECTED'],
  ]
  for (const [run, code] of failures) {
    const found = await codeOf(() =>
      db.transact(async app => {
        app.title = 'changed'
        await run(app)
      }),
    )
    t.equal(found, code)
  }
  await db.transact(async app => {
    t.equal(app.title, '')
    await host(app)
      .send(MESSAGE, { to: 'no address' })
      .catch(() => undefined)
    await host(app).send(MESSAGE, { subject: 'the page went on' })
  })
  t.match(await mails(), [/the page went on/])
})

t.test('an address is refused with its position before anything is written anywhere', async t => {
  const { db, spool } = await place(t)
  const before = (await db.undoLog({ last: 100 })).length
  const cases: [string, RegExp][] = [
    ['ann@example.org, bob', /^To: expected an address with an '@' at the end of "ann@example.org, bob"/],
    ['ann@@example.org', /^To: .* at character 5 of "ann@@example.org"/],
    ['Team: ann@example.org', /^To: .* of "Team: ann@example.org"/],
    ['ann@-x.example', /^To: "ann@-x.example" has a domain that is none/],
  ]
  for (const [to, message] of cases)
    await t.rejects(
      db.transact(app => host(app).send(MESSAGE, { to })),
      { code: 'BAD_ADDRESS', message },
      to,
    )
  t.notOk(existsSync(spool))
  t.equal((await db.undoLog({ last: 100 })).length, before)
})

t.test(
  'a connection with mail that is not committed cannot be closed: the mail would be gone without a word',
  async t => {
    const { db, mails } = await place(t)
    const connection = db.open()
    await host(connection.root as Application).send(MESSAGE)
    t.equal(await codeOf(() => connection.close()), 'CONNECTION_DIRTY')
    await connection.transaction.commit()
    connection.close()
    t.equal((await mails()).length, 1)
    t.equal(await codeOf(() => host(connection.root as Application).send(MESSAGE)), 'CONNECTION_CLOSED')
  },
)

t.test('sending is refused once the transaction is being committed or has ended', async t => {
  const { db, mails } = await place(t)
  let late: MaildropHost | undefined
  await db.transact((app, tx) => {
    late = host(app)
    app.title = 'x'
    tx.join({
      sortKey: 'z',
      prepare: async () => void t.equal(await codeOf(() => host(app).send(MESSAGE)), 'TRANSACTION_FAILED'),
    })
  })
  t.equal(await codeOf(() => late?.send(MESSAGE)), 'CONNECTION_CLOSED')
  t.same(await mails(), [])
})

t.test(
  'when the spool cannot be written, small mail waits in the database and large mail fails its transaction',
  async t => {
    const { db, spool, mails } = await place(t)
    const warnings: string[] = []
    const listen = (warning: Error) => warnings.push(warning.message)
    process.on('warning', listen)
    await writeFile(spool, 'a file where the spool should be')
    await db.transact(app => host(app).send(MESSAGE))
    t.type(await codeOf(() => db.transact(app => host(app).send(`${MESSAGE}${'x\n'.repeat(60_000)}`))), 'string')
    await waitFor('the warning', () => warnings.length > 0)
    process.off('warning', listen)
    t.match(warnings[0], /1 committed mail could not be published yet; kept in the database and tried again: .*spool/)
    await rm(spool)
    await waitFor('the mail', async () => (await mails()).length === 1)
    t.match(await mails(), [MESSAGE.replace(/\n/g, '\r\n').slice(-10)], 'it is published as soon as it can be')
  },
)

t.test('an outbox row that is damaged, or names no spool, is left where it is, and holds no other mail up', async t => {
  const home = await directory(t)
  const level = newLevel()
  const before = await openDatabase(level)
  const spool = join(home, 'spool')
  await ensureSpool(spool)
  const [bad, worse, outside, deeper, good] = [1, 2, 3, 4, 5].map(
    n => `0000000000-00000${n}-aaaaaaaaaaaaaaaaaaaa-${before.id}`,
  ) as [string, string, string, string, string]
  const elsewhere = join(home, 'elsewhere')
  await mkdir(elsewhere)
  await before.transact((_, tx) => {
    for (const [id, spool] of [
      [outside, elsewhere],
      [deeper, join(elsewhere, 'a/b')],
    ] as const)
      tx.outbox.set(mailKey(id), mailRow({ id, spool, bytes: Buffer.from('mail') }, false))
    for (const id of [bad, good]) tx.outbox.set(mailKey(id), mailRow({ id, spool, bytes: Buffer.from('mail') }, false))
    tx.outbox.set(mailKey(worse), Buffer.from('no mail row'))
  })
  await before.close()
  await level.open()
  const key = outboxKey(mailKey(bad))
  const encoding = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
  const row = Buffer.from((await level.get(key, encoding)) as Buffer)
  row[row.length - 1]! ^= 1
  await level.put(key, row, encoding)
  await level.close()
  const warnings: string[] = []
  const listener = ({ message }: Error) => void warnings.push(message)
  process.on('warning', listener)
  const db = await openDatabase(level)
  await mailSystemOf(db).publisher.settled()
  t.same(
    (await readdir(spool)).filter(name => /^\d/.test(name)),
    [good],
  )
  const left: string[] = []
  for await (const [key] of db.outbox.outboxRows('mail/')) left.push(key)
  t.same(left, [bad, worse, outside, deeper].map(mailKey))
  t.same(await readdir(elsewhere), [], 'nothing was written where no spool is')
  await waitFor('the warnings', () => Promise.resolve(warnings.length >= 4))
  process.off('warning', listener)
  const none = (n: number) => new RegExp(`${n}-a.*elsewhere.*neither configured nor a spool`)
  t.match(warnings, [/1-a.* is damaged/, /2-a.* is damaged/, none(3), none(4)])
  await db.close()
})

t.test('held files of other databases are left alone at recovery', async t => {
  const { db, spool } = await place(t)
  await db.transact(app => host(app).send(MESSAGE))
  await mkdir(join(spool, '.held'), { recursive: true })
  const stranger = join(spool, '.held', '0000000000-000001-aaaaaaaaaaaaaaaaaaaa-0123456789abcdef')
  await writeFile(stranger, 'x')
  await chmod(stranger, 0o600)
  const another = await openDatabase(newLevel())
  await another.close()
  t.equal(await readFile(stranger, 'utf8'), 'x')
  await rm(stranger)
})
