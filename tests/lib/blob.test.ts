/** Blobs: contents outside the records, with the guarantees of the transaction. */
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t from 'tap'
import { Blob, type Connection, type Database } from '../../lib/index.ts'
import { launch } from '../support/children.ts'
import { codeOf, Item, openTestDatabase, type Root } from '../support/database.ts'
import { directory } from '../support/program.ts'

/** Puts a new blob into the root. */
function place(root: Root): Blob {
  const blob = new Blob({ mediaType: 'image/png' })
  root.any = blob
  ;(root._p_jar as Connection).add(blob)
  return blob
}

/** The names of all content files. */
function contents(home: string): string[] {
  return readdirSync(join(home, 'blobs'), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
}

const read = (db: Database<Root>) => db.transact(async root => String(await (root.any as Blob).bytes()))

for (const where of ['on disk', 'in memory'])
  t.test(`${where}: what is written is read back, in this transaction and in later ones`, async t => {
    const db = await openTestDatabase(where === 'on disk' ? await directory(t) : undefined)
    const large = randomBytes(3_000_000)
    await db.transact(async root => {
      const blob = place(root)
      t.equal(blob.size, 0)
      t.equal((await blob.bytes()).length, 0)
      await blob.write(Readable.from([large.subarray(0, 1_000_000), large.subarray(1_000_000)]))
      t.equal(blob.size, large.length)
      t.ok(large.equals(await blob.bytes()))
    })
    await db.transact(async root => {
      const hash = createHash('sha256')
      for await (const chunk of (root.any as Blob).read()) hash.update(chunk as Buffer)
      t.equal(hash.digest('hex'), createHash('sha256').update(large).digest('hex'))
      t.equal((root.any as Blob).mediaType, 'image/png')
    })
    await db.close()
  })

for (const where of ['on disk', 'in memory'])
  t.test(
    `${where}: streams of text and of other arrays are written as their bytes; anything else is refused`,
    async t => {
      const db = await openTestDatabase(where === 'on disk' ? await directory(t) : undefined)
      const numbers = new Uint16Array([1, 513])
      for (const [source, expected] of [
        [Readable.from(['äö', 'ü']), Buffer.from('äöü')],
        [Readable.from([Buffer.from('ä€')]).setEncoding('utf8'), Buffer.from('ä€')],
        [[numbers] as unknown as Uint8Array[], Buffer.from(numbers.buffer)],
        [numbers as unknown as Uint8Array, Buffer.from(numbers.buffer)],
        ['', Buffer.alloc(0)],
      ] as const) {
        await db.transact(async root => void (await place(root).write(source)))
        const found = await db.transact(async root => [(root.any as Blob).size, await (root.any as Blob).bytes()])
        t.same(found, [expected.length, expected])
      }
      for (const source of [undefined, null, 5, {}, new ArrayBuffer(2), [1], [{ length: 1 }]] as unknown as string[])
        t.equal(await codeOf(() => db.transact(root => place(root).write(source))), 'INVALID_ARGUMENT')
      await db.close()
    },
  )

t.test('abort, rollback and errors leave no content', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(home)
  await db.transact(async root => void (await place(root).write('kept')))
  await t.rejects(
    db.transact(async root => {
      await (root.any as Blob).write('aborted')
      throw new Error('no')
    }),
  )
  await db.transact(async (root, tx) => {
    root.n = 1
    const savepoint = tx.savepoint()
    await (root.any as Blob).write('rolled back')
    savepoint.rollback()
    t.equal(String(await (root.any as Blob).bytes()), 'kept')
  })
  await db.transact(async (root, tx) => {
    const savepoint = tx.savepoint()
    await (root.any as Blob).write('first, rolled back')
    savepoint.rollback()
    await (root.any as Blob).write('kept after all')
    const slow = (root.any as Blob).write(
      (async function* () {
        savepoint.rollback()
        yield Buffer.from('written ')
        yield Buffer.from('through a rollback')
      })(),
    )
    await slow
  })
  async function* failing() {
    yield Buffer.from('some')
    throw new Error('the source failed')
  }
  await t.rejects(
    db.transact(async root => (root.any as Blob).write(failing())),
    /source failed/,
  )
  t.equal(await codeOf(() => new Blob().write('x')), 'NOT_CONNECTED')
  t.equal(await read(db), 'written through a rollback')
  await db.close()
  await (await openTestDatabase(home)).close()
  t.equal(contents(home).length, 2, 'the present content and the one of history')
})

t.test(
  'history has the earlier contents until a pack, undo brings one back, and an unlinked blob goes with its content',
  async t => {
    const home = await directory(t)
    const db = await openTestDatabase(home)
    await db.transact(async root => void (await place(root).write('one')))
    const first = (await db.undoLog({ last: 1 }))[0]!.tid
    await db.transact(async root => (root.any as Blob).write('two'))
    const view = db.open({ at: first })
    t.equal(String(await (view.root.any as Blob).bytes()), 'one')
    view.close()
    await db.undo((await db.undoLog())[0]!.tid)
    t.equal(await read(db), 'one')
    await db.pack()
    t.equal(await read(db), 'one')
    t.equal(contents(home).length, 1)
    await db.transact(root => void (root.any = undefined))
    await db.pack()
    t.equal(contents(home).length, 0)
    await db.close()
  },
)

t.test('a content that is damaged or missing is an error, never other bytes', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(home)
  await db.transact(async root => void (await place(root).write('the content')))
  const [file] = contents(home)
  const bytes = readFileSync(file!)
  bytes[3]! ^= 1
  writeFileSync(file!, bytes)
  t.equal(await codeOf(() => read(db)), 'DATABASE_CORRUPT')
  writeFileSync(file!, 'the')
  t.equal(await codeOf(() => read(db)), 'DATABASE_CORRUPT')
  rmSync(file!)
  t.equal(await codeOf(() => read(db)), 'DATABASE_CORRUPT')
  // what else may stand there neither holds anybody up nor goes on for ever
  const others: [string, () => void][] = [
    ['a directory', () => mkdirSync(file!)],
    ['a pipe', () => execFileSync('mkfifo', [file!])],
    ['a device', () => symlinkSync('/dev/zero', file!)],
  ]
  for (const [what, put] of others) {
    put()
    t.equal(await codeOf(() => read(db)), 'DATABASE_CORRUPT', what)
    t.match(await db.verify(), {
      ok: false,
      problems: [{ kind: 'blob', message: /the content of a blob .* is damaged/ }],
    })
    rmSync(file!, { recursive: true })
  }
  await db.close()
})

t.test('killed while writing blobs: every committed one is whole, and no other content is left', async t => {
  const home = await directory(t)
  for (let kill = 0; kill < 10; kill++) {
    const writer = launch(t, 'tests/support/blobber.ts', [home])
    while (!writer.output().includes('\n')) await new Promise(resolve => setTimeout(resolve, 2))
    await new Promise(resolve => setTimeout(resolve, Math.random() * 80))
    writer.process.kill('SIGKILL')
    const { stdout } = await writer.ended
    const acknowledged = stdout.slice(0, stdout.lastIndexOf('\n')).split('\n').length
    const db = await openTestDatabase(home)
    const blobs = await db.transact(async root => {
      let whole = 0
      for (const blob of root.tree.values() as Generator<Blob>) {
        const text = String(await blob.bytes())
        if (text === text[0]?.repeat(200_000)) whole += 1
      }
      return { whole, all: [...root.tree.keys()].length, committed: root.n }
    })
    t.equal(blobs.whole, blobs.all)
    t.ok(blobs.committed >= acknowledged)
    t.equal(contents(home).length, blobs.all, 'as many contents as blobs')
    await db.close()
  }
})

t.test('blobs that are committed while a pack sweeps stay, and so do those that a backup copies meanwhile', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(join(home, 'live'))
  await db.transact(async root => void (await place(root).write('one')))
  await db.transact(async root => (root.any as Blob).write('two'))
  const first = (await db.undoLog())[1]!.tid
  await db.transact(root => void (root.list = Array.from({ length: 1500 }, (_, i) => new Item(`${i}`))))
  let packing: Promise<unknown> | undefined
  const copying = db.backup(join(home, 'backup'), {
    progress: () => {
      packing ??= db.pack()
    },
  })
  for (let i = 0; i < 20; i++)
    await db.transact(async root => {
      const blob = new Blob()
      root.tree.set(i, blob)
      ;(root._p_jar as Connection).add(blob)
      await blob.write(`blob ${i}`)
    })
  await copying
  await packing
  t.ok(packing)
  await db.transact(async root => {
    for (const [i, blob] of root.tree.entries() as Generator<[number, Blob]>)
      t.equal(String(await blob.bytes()), `blob ${i}`)
  })
  await db.close()
  const copy = await openTestDatabase(join(home, 'backup'))
  const view = copy.open({ at: first })
  t.equal(String(await (view.root.any as Blob).bytes()), 'one', 'the history of the copy has its contents')
  view.close()
  await copy.close()
})

t.test('a blob can take over the content of another one, which stays as long as one of them has it', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(home)
  await db.transact(async root => void (await place(root).write('shared')))
  await t.rejects(
    db.transact(root => {
      const copy = new Blob()
      root.tree.set('copy', copy)
      ;(root._p_jar as Connection).add(copy)
      copy.share(root.any as Blob)
      throw new Error('no')
    }),
  )
  t.equal(await read(db), 'shared', 'an abort takes nothing away')
  await db.transact(root => {
    const copy = new Blob()
    root.tree.set('copy', copy)
    ;(root._p_jar as Connection).add(copy)
    copy.share(root.any as Blob)
  })
  t.equal(contents(home).length, 1)
  await db.transact(async root => (root.any as Blob).write('other'))
  await db.pack()
  t.equal(await read(db), 'other')
  t.equal(String(await db.transact(async root => (root.tree.get('copy') as Blob).bytes())), 'shared')
  await db.transact(root => void root.tree.delete('copy'))
  await db.pack()
  t.equal(contents(home).length, 1)
  await db.close()
})

t.test('a pack leaves open and historical readers the contents that they see; a later one removes them', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(home)
  await db.transact(async root => void (await place(root).write('first')))
  const write = (text: string) => db.transact(root => (root.any as Blob).write(text))
  const reader = db.open()
  await write('second')
  const at = (await db.undoLog({ last: 1 }))[0]!.tid
  await write('third')
  const past = db.open({ at })
  await db.transact(root => void (root.any = undefined))
  await db.pack()
  for (let turn = 0; turn < 2; turn++) {
    t.equal(String(await (reader.root.any as Blob).bytes()), 'first')
    t.equal(String(await (past.root.any as Blob).bytes()), 'second')
    t.same(
      contents(home)
        .map(file => readFileSync(file, 'utf8'))
        .sort(),
      ['first', 'second'],
      'and nothing else',
    )
    await db.pack()
  }
  reader.close()
  await db.pack()
  t.same(
    contents(home).map(file => readFileSync(file, 'utf8')),
    ['second'],
  )
  past.close()
  await db.pack()
  t.same(contents(home), [])
  t.ok((await db.verify()).ok)
  await db.close()
})

t.test('a content that comes too late for its transaction is removed, and the writer is told why', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(home)
  let written: Promise<string | undefined> | undefined
  await db.transact(root => {
    const blob = place(root)
    written = codeOf(() => blob.write('late'))
  })
  t.equal(await written, 'TRANSACTION_FAILED')
  t.same(contents(home), [])
  await db.close()
})
