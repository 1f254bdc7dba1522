/** Events of the tree: who hears what, when, and what a failing listener does. */
import t from 'tap'
import {
  type Application,
  BTree,
  type Database,
  Folder,
  MaildropHost,
  openDatabase,
  Persistent,
  registerClass,
  setProperty,
  subscribe,
  type TreeEvent,
} from '../../objects/index.ts'
import { codeOf, newLevel } from '../support/database.ts'

class Page extends Persistent {
  text = ''
}
registerClass('Page', Page)

const line = ({ type, path, oldPath }: TreeEvent) => `${type} ${path}${oldPath === undefined ? '' : ` from ${oldPath}`}`

/** A database, and what its listeners heard since the last look. */
async function listening(): Promise<{ db: Database<Application>; heard: () => string[] }> {
  const db = await openDatabase(newLevel())
  const lines: string[] = []
  subscribe(db, event => void lines.push(line(event)))
  return { db, heard: () => lines.splice(0) }
}

/** /a/b/page and /a/host, not yet in the tree. */
function branch(): Folder {
  const a = new Folder()
  a.add('b', new Folder()).add('page', new Page())
  a.add('host', new MaildropHost())
  return a
}

t.test('additions, moves, renames and removals are heard of for every object, the outer first', async t => {
  const { db, heard } = await listening()
  await db.transact(app => {
    const a = branch()
    t.same(heard(), [], 'nothing is in the tree yet')
    app.add('a', a)
    t.same(heard(), ['added /a', 'added /a/b', 'added /a/b/page', 'added /a/host'])
  })
  t.same(heard(), [], 'a commit is no event')
  await db.transact(app => {
    app.rename('a', 'z')
    t.same(heard(), [
      'moved /z from /a',
      'moved /z/b from /a/b',
      'moved /z/b/page from /a/b/page',
      'moved /z/host from /a/host',
    ])
    app.traverse('/z', Folder).move('b', app, 'c')
    t.same(heard(), ['moved /c from /z/b', 'moved /c/page from /z/b/page'])
    app.copy('c')
    t.same(heard(), ['added /copy_of_c', 'added /copy_of_c/page'])
    app.traverse('/c', Folder).delete('page')
    app.delete('copy_of_c')
    t.same(heard(), ['removed /c/page', 'removed /copy_of_c', 'removed /copy_of_c/page'])
    app.create('/new/x', new Page(), { parents: true })
    t.same(heard(), ['added /new', 'added /new/x'])
    setProperty(app.traverse('/z/host'), 'title', 'T')
    t.same(heard(), ['modified /z/host'])
    app.rename('new', 'new')
  })
  await codeOf(() => db.transact(app => app.add('c', new Page())))
  await codeOf(() => db.transact(app => app.move('c', app.traverse('/c', Folder))))
  t.same(heard(), [], 'what fails is no event')
  await db.close()
})

t.test('a listener hears only of its database, path and class, until it ends', async t => {
  const [db, other] = [await openDatabase(newLevel()), await openDatabase(newLevel())]
  const heard: string[] = []
  const listen = (name: string, options?: Parameters<typeof subscribe>[2]) =>
    subscribe(db, event => void heard.push(`${name}: ${line(event)}`), options)
  const ends = [
    listen('page', { type: Page }),
    listen('below', { under: '/a/b' }),
    listen('root', { under: '/', type: MaildropHost }),
  ]
  await db.transact(app => void app.add('a', branch()))
  await other.transact(app => void app.add('a', branch()))
  t.same(heard.splice(0), [
    'below: added /a/b',
    'page: added /a/b/page',
    'below: added /a/b/page',
    'root: added /a/host',
  ])
  await db.transact(app => {
    app.add('b', new Page())
    app.traverse('/a', Folder).rename('b', 'bb')
  })
  t.same(heard.splice(0), [
    'page: added /b',
    'below: moved /a/bb from /a/b',
    'page: moved /a/bb/page from /a/b/page',
    'below: moved /a/bb/page from /a/b/page',
  ])
  for (const end of ends) end()
  await db.transact(app => void app.delete('a'))
  t.same(heard, [])
  await db.close()
  await other.close()
})

t.test('a catalog kept by a listener agrees with the tree, also after aborts and conflicts', async t => {
  const db = await openDatabase(newLevel())
  class Catalog extends Persistent {
    paths = new BTree<string>()
  }
  registerClass('Catalog', Catalog)
  await db.transact(app => void app.add('catalog', new Catalog()))
  subscribe(
    db,
    ({ type, path, oldPath, object, app }) => {
      const { paths } = app.traverse('/catalog', Catalog)
      if (type === 'removed' || type === 'moved') paths.delete(oldPath ?? path)
      if (type !== 'removed') paths.set(path, object.constructor.name)
    },
    { type: Page },
  )
  const run = (work: (app: Application) => unknown) => db.transact(work, { attempts: 50 })
  await run(app => {
    for (const id of ['a', 'b', 'c']) app.add(id, branch())
  })
  await Promise.all([
    run(app => app.rename('a', 'aa')),
    run(app => app.delete('b')),
    run(app => app.copy('c')),
    run(app => app.traverse('/c/b', Folder).add('page2', new Page())),
    t.rejects(
      run(app => {
        app.delete('c')
        throw new Error('never mind')
      }),
    ),
  ])
  await db.transact(app => {
    const found: string[] = []
    const walk = (folder: Folder) => {
      for (const child of folder.values()) {
        if (child instanceof Page) found.push(child.physicalPath)
        if (child instanceof Folder) walk(child)
      }
    }
    walk(app)
    t.same([...app.traverse('/catalog', Catalog).paths.keys()], found.sort())
    t.ok(found.length >= 4)
  })
  await db.close()
})

t.test('a listener that throws fails the operation, which is taken back', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    app.add('a', new Folder())
    app.add('b', new Folder()).add('page', new Page())
  })
  const end = subscribe(db, ({ type, path }) => {
    throw new Error(`no ${type} ${path}`)
  })
  await db.transact(app => {
    t.throws(() => app.add('x', new Page()), { message: 'no added /x' })
    t.throws(() => app.delete('a'), { message: 'no removed /a' })
    t.throws(() => app.move('b', app.traverse('/a', Folder)), { message: 'no moved /a/b' })
    t.throws(() => app.rename('b', 'c'), { message: 'no moved /c' })
    t.same([app.ids(), app.size], [['a', 'b'], 2])
    t.equal(app.traverse('/b/page').physicalPath, '/b/page')
  })
  await t.rejects(
    db.transact(app => app.add('x', new Page())),
    { message: 'no added /x' },
  )
  end()
  await db.transact(app => t.same(app.ids(), ['a', 'b']))
  t.ok((await db.verify()).ok)
  await db.close()
})

t.test('where another listener had been told already, the transaction cannot be committed any more', async t => {
  const { db, heard } = await listening()
  subscribe(db, () => {
    throw new Error('late')
  })
  t.equal(
    await codeOf(() =>
      db.transact(app => {
        t.throws(() => app.add('x', new Page()), { message: 'late' })
        t.notOk(app.has('x'))
      }),
    ),
    'TRANSACTION_DOOMED',
  )
  t.same(heard(), ['added /x'])
  await db.close()
})
