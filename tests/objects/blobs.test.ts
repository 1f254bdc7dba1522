/** Blobs in the tree: copied and moved between databases with their contents. */
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import t from 'tap'
import { Blob, exportTree, Folder, importTree, openDatabase } from '../../objects/index.ts'
import { codeOf, newLevel } from '../support/database.ts'
import { directory } from '../support/program.ts'

const LARGE = randomBytes(2_500_000)

/** The names of all content files. */
const contents = (home: string) =>
  readdirSync(join(home, 'blobs'), { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())

async function withBlobs(location: string | ReturnType<typeof newLevel>) {
  const db = await openDatabase(location)
  await db.transact(async app => {
    await app.create('/shop/large', new Blob(), { parents: true }).write(LARGE)
    await app.create('/shop/deep/small', new Blob({ mediaType: 'text/plain' }), { parents: true }).write('small')
    app.create('/shop/empty', new Blob())
  })
  return db
}

t.test('a copy has the contents, which are kept once', async t => {
  const home = await directory(t)
  const db = await withBlobs(home)
  await db.transact(app => void app.copy('shop'))
  t.equal(contents(home).length, 2)
  await db.transact(app => void app.delete('shop'))
  await db.pack()
  await db.transact(async app => {
    t.ok(LARGE.equals(await app.traverse('/copy_of_shop/large', Blob).bytes()))
    t.equal(String(await app.traverse('/copy_of_shop/deep/small', Blob).bytes()), 'small')
  })
  await db.transact(app => void app.delete('copy_of_shop'))
  await db.pack()
  t.equal(contents(home).length, 0)
  await db.close()
})

t.test('an export has the contents, and an import writes them', async t => {
  const home = await directory(t)
  const from = await withBlobs(newLevel())
  const file = await from.transact(app => buffer(exportTree(app.traverse('/shop'))))
  await from.close()
  const to = await openDatabase(home)
  await to.transact(app => importTree(app, 'shop', file))
  await to.transact(async app => {
    t.ok(LARGE.equals(await app.traverse('/shop/large', Blob).bytes()))
    const small = app.traverse('/shop/deep/small', Blob)
    t.same([String(await small.bytes()), small.mediaType], ['small', 'text/plain'])
    t.equal(app.traverse('/shop/empty', Blob).size, 0)
  })
  t.equal(contents(home).length, 2)

  await t.rejects(
    to.transact(async app => {
      await importTree(app, 'again', file)
      throw new Error('no')
    }),
  )
  for (let i = 0; i < 60; i++) {
    const damaged = Buffer.from(file)
    damaged[Math.floor((i / 60) * file.length)]! ^= 1
    const cut = file.subarray(0, Math.floor((i / 60) * file.length))
    for (const bytes of [damaged, cut])
      t.equal(await codeOf(() => to.transact(app => importTree(app, 'bad', bytes))), 'INVALID_ARGUMENT')
  }
  t.equal(
    await codeOf(() => to.transact(app => importTree(app.traverse('/shop', Folder), 'large', file))),
    'DUPLICATE_ID',
  )
  await to.close()
  t.equal(contents(home).length, 2, 'nothing is left of what was refused or aborted')
  const again = await openDatabase(home)
  t.same(await again.transact(app => app.ids()), ['shop'])
  t.match(await again.verify(), { ok: true })
  await again.close()
})
