/** Export files: what goes through, what is refused, and that no file does harm. */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import t from 'tap'
import { Blob } from '../../lib/index.ts'
import { pickle, Reference } from '../../lib/pickle.ts'
import { asState } from '../../lib/state.ts'
import {
  type Application,
  Broken,
  BTree,
  type Connection,
  Counter,
  type Database,
  exportTree,
  Folder,
  importTree,
  MaildropHost,
  ObjectError,
  openDatabase,
  Persistent,
  PersistentMap,
  PersistentRef,
  registerClass,
  subscribe,
  Template,
} from '../../objects/index.ts'
import { codeOf, newLevel } from '../support/database.ts'
import { fc } from '../support/properties.ts'
import { unregisterClass } from '../support/registry.ts'

class Box extends Persistent {
  values: unknown = undefined
  index = new BTree<Persistent>()
  friend: Persistent | undefined
  ref: PersistentRef | undefined
}
registerClass('Box', Box)

async function bytesOf(object: Persistent): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of exportTree(object)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const VALUES = {
  list: [1, -0, 1.5, 2n ** 70n, undefined, null, true, 'é\ud800', new Date(-1)],
  map: new Map<unknown, unknown>([
    ['k', new Set([1])],
    [{}, 2],
  ]),
  bytes: [Buffer.from('ab'), new Uint8Array([1, 2]), new Float64Array([0.5])],
  deep: [[[[[{ a: { b: ['c'] } }]]]]],
  ['__proto__']: { x: 1 },
}

/** /shop with folders, parts, inner values and references of all kinds. */
function shop(app: Application): Folder {
  const shop = app.create('/shop', new Folder())
  shop.title = 'Shop'
  const box = shop.add('box', new Box())
  box.values = { ...VALUES, self: [] as unknown[] }
  ;(box.values as { self: unknown[] }).self.push(box.values)
  const part = new PersistentMap([['count', new Counter(5)]])
  for (let i = 0; i < 150; i++) box.index.set(i % 2 === 0 ? i : `k${i}`, part)
  const sub = shop.add('sub', new Folder())
  sub.add('page', new Template('Hello {{name}}'))
  sub.add('XYZ', new MaildropHost({ title: 'T' }))
  sub.add('friend', new Box()).friend = box
  box.friend = sub.get('friend')
  return shop
}

/** A database with /shop, in which /shop/box refers weakly to its friend and to something outside. */
async function withShop(): Promise<Database<Application>> {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    app.add('outside', new Folder())
    shop(app)
  })
  await db.transact(app => {
    app.traverse('/shop/box', Box).ref = new PersistentRef(app.traverse('/shop/sub/friend'))
    app.traverse('/shop/sub/friend', Box).ref = new PersistentRef(app.traverse('/outside'))
  })
  return db
}

const exported = (db: Database<Application>, path = '/shop') => db.transact(app => bytesOf(app.traverse(path)))

t.test('a subtree arrives whole in another database, and in its own as new objects', async t => {
  const source = await withShop()
  const bytes = await exported(source)
  for (const target of [await openDatabase(newLevel()), source]) {
    await target.transact(async app => {
      const top = (await importTree(app, 'copy', bytes)) as Folder
      t.equal(top.physicalPath, '/copy')
    })
    await target.transact(app => {
      const copy = app.traverse('/copy', Folder)
      const box = copy.traverse('box', Box)
      t.same([copy.title, copy.ids(), copy.size], ['Shop', ['box', 'sub'], 2])
      const { self, ...values } = box.values as typeof VALUES & { self: unknown[] }
      t.strictSame(values, VALUES)
      t.equal(self[0], box.values)
      t.equal(box.index.size, 150)
      const part = box.index.get('k1') as PersistentMap<string, Counter>
      t.equal(part.get('count')?.value, 5)
      t.ok([...box.index.values()].every(each => each === part))
      t.equal(box.friend, copy.traverse('sub/friend'))
      t.equal(box.friend && (box.friend as Box).friend, box)
      t.equal(box.ref?.deref(), box.friend, 'a weak reference inward')
      const outward = copy.traverse('sub/friend', Box).ref?.deref()
      t.equal(outward, target === source ? app.get('outside') : undefined, 'a weak reference outward')
      t.equal(copy.traverse('sub/page', Template).source, 'Hello {{name}}')
      t.equal(copy.traverse('sub/XYZ', MaildropHost).title, 'T')
    })
    t.ok((await target.verify()).ok)
    t.ok((await exported(target, '/copy')).equals(bytes), 'the export of the import is the same file')
    if (target === source) {
      await target.transact(app => void app.delete('shop'))
      await target.pack()
      t.ok((await target.verify()).ok, 'nothing was shared')
    }
    await target.close()
  }
})

t.test('an export is what the transaction sees, however it was changed', async t => {
  class Old extends Persistent {
    text = 'old'
  }
  registerClass('Older name', Old)
  const db = await withShop()
  await db.transact(app => {
    const box = app.traverse('/shop/box', Box)
    box.index.set('old', new Old())
    app.traverse('/shop/sub/friend', Box).friend = box.index.get('old') as Old
  })
  unregisterClass('Older name')
  registerClass('Old', Old, { aliases: ['Older name'] })
  const connection = db.open()
  const { root, transaction } = connection
  const box = root.traverse('/shop/box', Box)
  const values = box.values as typeof VALUES
  values.map.set('k', new Set([7]))
  root.traverse('/shop', Folder).delete('sub')
  box.friend = new Box()
  box.index.delete('k1')
  const savepoint = transaction.savepoint()
  ;(values.deep[0] as unknown[]).push('after the savepoint')
  root.traverse('/shop', Folder).add('new', new Folder()).title = 'new'
  box.index.set('friend', new Counter(9))
  const changed = await bytesOf(root.traverse('/shop'))
  savepoint.rollback()
  const rolledBack = await bytesOf(root.traverse('/shop'))
  await transaction.abort()
  const stored = await bytesOf(root.traverse('/shop'))
  connection.close()
  for (const [bytes, ids, deep, size, seven] of [
    [changed, ['box', 'new'], 2, 151, true],
    [rolledBack, ['box'], 1, 150, true],
    [stored, ['box', 'sub'], 1, 151, false],
  ] as const) {
    await db.transact(async app => {
      const copy = (await importTree(app, 'copy', bytes)) as Folder
      const box = copy.traverse('box', Box)
      const values = box.values as typeof VALUES
      t.same([copy.ids(), values.deep[0]?.length, box.index.size], [ids, deep, size])
      t.equal((values.map.get('k') as Set<number>).has(7), seven)
      t.type(box.friend, Box)
      t.match(box.index.get('old'), { text: 'old' })
      t.type(box.index.get('old'), Old)
      app.delete('copy')
    })
  }
  await db.close()
  unregisterClass('Old')
})

t.test('an import is part of its transaction, and is heard of', async t => {
  const source = await withShop()
  const bytes = await exported(source)
  await source.close()
  const db = await openDatabase(newLevel())
  const heard: string[] = []
  subscribe(db, ({ type, path }) => void heard.push(`${type} ${path}`), { type: Folder })
  await t.rejects(
    db.transact(async app => {
      await importTree(app, 'a', bytes)
      throw new Error('no')
    }),
  )
  await db.transact(async (app, tx) => {
    t.same(app.ids(), [])
    const point = tx.savepoint()
    await importTree(app, 'b', bytes)
    point.rollback()
    t.same(app.ids(), [])
    const fresh = app.add('fresh', new Folder())
    await importTree(
      fresh,
      'c',
      [...bytes].map(byte => Uint8Array.of(byte)),
    )
    t.equal(await codeOf(() => importTree(fresh, 'c', bytes)), 'DUPLICATE_ID')
    t.equal(await codeOf(() => importTree(fresh, '..', bytes)), 'INVALID_ID')
    t.equal(await codeOf(() => importTree(new Folder(), 'c', bytes)), 'NOT_CONNECTED')
  })
  t.same(heard.slice(-3), ['added /fresh', 'added /fresh/c', 'added /fresh/c/sub'])
  await db.transact(app => t.same(app.traverse('/fresh/c', Folder).ids(), ['box', 'sub']))
  t.ok((await db.verify()).ok)
  await db.close()
})

t.test('references that lead out are refused before the first byte, with their places', async t => {
  const db = await withShop()
  await db.transact(app => {
    app.traverse('/shop/box', Box).values = { inner: [app.get('outside')] }
    app.traverse('/shop/sub/friend', Box).index.set('k', app)
  })
  await db.transact(async app => {
    await t.rejects(bytesOf(app.traverse('/shop')), {
      code: 'INVALID_REFERENCE',
      message:
        /\/shop cannot be exported.* out of it: \/shop\/box, attribute values\.inner\[0\], to \/outside; \/shop\/sub\/friend \(Leaf \(object \d+\)\), attribute values\[0\], to \/; export/,
    })
    const blob = app.create('/blob', new Blob())
    t.ok((await bytesOf(blob)).length > 0, 'an empty blob goes')
    t.ok((await bytesOf(app.traverse('/outside'))).length > 0)
  })
  await db.close()
})

t.test('objects of classes that are not registered go through as they are', async t => {
  class Secret extends Persistent {
    text = 'kept'
    friend: Persistent | undefined
    inner = { list: [1n, new Date(7)] }
    child: Persistent | undefined
  }
  registerClass('Secret', Secret, { version: 3 })
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    const folder = app.add('f', new Folder())
    const secret = folder.add('secret', new Secret())
    secret.friend = folder.add('friend', new Box())
    secret.child = new Secret()
    ;(secret.friend as Box).friend = secret
    for (let i = 0; i < 300; i++) folder.add(`more${i}`, new Secret())
  })
  const known = await exported(db, '/f')
  unregisterClass('Secret')
  const unknown = await exported(db, '/f')
  t.ok(unknown.equals(known), 'byte for byte')
  const small = db.open({ cacheSize: 1 })
  t.ok((await bytesOf(small.root.traverse('/f'))).equals(known), 'also where few stay loaded')
  small.close()
  const other = await openDatabase(newLevel())
  await other.transact(async (app, tx) => {
    const point = tx.savepoint()
    await importTree(app, 'gone', unknown)
    point.rollback()
    await importTree(app, 'f', unknown)
    t.type(app.traverse('/f/secret'), Broken)
  })
  await t.rejects(
    other.transact(async app => {
      await importTree(app, 'aborted', unknown)
      throw new Error('no')
    }),
    { message: 'no' },
  )
  t.ok((await exported(other, '/f')).equals(known))
  t.equal(await codeOf(() => other.transact(app => app.copy('f'))), 'UNKNOWN_CLASS')
  t.ok((await other.verify()).ok)
  registerClass('Secret', Secret, { version: 3 })
  await other.transact(app => {
    t.same(app.ids(), ['f'])
    const secret = app.traverse('/f/secret', Secret)
    t.same([secret.text, secret.inner], ['kept', { list: [1n, new Date(7)] }])
    t.equal(secret.friend, app.traverse('/f/friend'))
    t.equal((secret.friend as Box).friend, secret)
    t.type(secret.child, Secret)
  })
  unregisterClass('Secret')
  registerClass('Secret', Secret, { version: 2 })
  t.equal(await codeOf(() => other.transact(app => importTree(app, 'newer', known))), 'UNKNOWN_CLASS')
  unregisterClass('Secret')
  registerClass('Secret', Secret, { version: 4, upgrade: state => ({ ...state, text: 'upgraded' }) })
  await other.transact(async app => {
    const older = (await importTree(app, 'older', known)) as Folder
    t.equal(older.traverse('secret', Secret).text, 'upgraded')
  })
  unregisterClass('Secret')
  await db.close()
  await other.close()
})

t.test('a blob of a class that is not registered is not exported without its content', async t => {
  class Picture extends Blob {}
  registerClass('Picture', Picture)
  const db = await openDatabase(newLevel())
  await db.transact(async app => {
    app.create('/shop', new Folder()).add('logo', new Picture())
    await app.traverse('/shop/logo', Picture).write('a picture')
  })
  unregisterClass('Picture')
  await db.transact(async app => {
    await t.rejects(bytesOf(app.traverse('/shop')), { code: 'UNKNOWN_CLASS', message: /\/shop\/logo.*'Picture'/ })
  })
  await db.close()
})

t.test('a whole tree is exported from its root, and imported as a folder', async t => {
  const source = await withShop()
  const bytes = await exported(source, '/')
  await source.close()
  const db = await openDatabase(newLevel())
  await db.transact(app => importTree(app, 'all', bytes))
  await db.transact(app => {
    t.same(app.traverse('/all', Folder).ids(), ['outside', 'shop'])
    t.equal(app.traverse('/all/shop/sub/friend', Box).ref?.deref(), app.traverse('/all/outside'))
    t.equal(app.traverse('/all/shop/sub/XYZ').physicalPath, '/all/shop/sub/XYZ')
  })
  t.ok((await db.verify()).ok)
  await db.close()
})

t.test('a large subtree is exported in pieces, with its states loaded as they are needed', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    const big = app.add('big', new Folder())
    for (let i = 0; i < 5000; i++) big.add(`t${i}`, new Template('x'.repeat(1000)))
  })
  const connection = db.open({ cacheSize: 200, readOnly: true })
  let size = 0
  let largest = 0
  let loaded = 0
  const pieces: Uint8Array[] = []
  const began = performance.now()
  for await (const piece of exportTree(connection.root.traverse('/big'))) {
    pieces.push(piece)
    size += piece.length
    largest = Math.max(largest, piece.length)
    loaded = Math.max(loaded, connection.cacheStats.loaded)
  }
  t.comment(`${(size / 1e6).toFixed(1)} MB exported in ${Math.round(performance.now() - began)} ms`)
  t.ok(size > 5_000_000 && largest < 100_000, `pieces up to ${largest} bytes`)
  t.ok(loaded < 1000, `${loaded} objects loaded at a time`)
  t.ok(connection.cacheStats.objects < 200, `${connection.cacheStats.objects} objects known`)
  connection.close()
  const imported = performance.now()
  await db.transact(async app => void (await importTree(app, 'again', pieces)))
  t.comment(`imported in ${Math.round(performance.now() - imported)} ms`)
  await db.transact(app => t.equal(app.traverse('/again', Folder).size, 5000))
  await db.close()
})

// --- files that were damaged or made up

/** The bodies of the records in a file. */
function bodiesOf(file: Buffer): Buffer[] {
  const bodies: Buffer[] = []
  for (let at = 10; file[at] === 0x52; at += 9 + file.readUInt32BE(at + 1))
    bodies.push(Buffer.from(file.subarray(at + 9, at + 9 + file.readUInt32BE(at + 1))))
  return bodies
}

/** A file of these records, with all checksums right. */
function sealed(bodies: readonly Buffer[], count = bodies.length): Buffer {
  const uint = (value: number) => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return bytes
  }
  const file = Buffer.concat([
    Buffer.from('894f54580d0a1a0a0001', 'hex'),
    ...bodies.flatMap(body => [Buffer.of(0x52), uint(body.length), uint(crc32(body)), body]),
    Buffer.of(0x45),
    uint(count),
  ])
  return Buffer.concat([file, createHash('sha256').update(file).digest()])
}

function body(number: number, className: string, state: Buffer): Buffer {
  const head = Buffer.alloc(7)
  head.writeUInt32BE(number)
  head.writeUInt16BE(1, 4)
  head[6] = Buffer.byteLength(className)
  return Buffer.concat([head, Buffer.from(className), state])
}
const stateOf = (attributes: Record<string, unknown>) =>
  pickle(asState({ ...attributes }), reference => reference as Reference, 'test')
const record = (number: number, className: string, attributes: Record<string, unknown>) =>
  body(number, className, stateOf(attributes))
const to = (number: number, className: string) => new Reference(number, className)

/** Imports into a fresh folder, looks at all of it, and takes it back. @returns the error, if it was refused */
async function attempt(connection: Connection<Application>, file: Uint8Array): Promise<unknown> {
  const { root, transaction } = connection
  try {
    await importTree(root, 'hostile', file)
  } catch (error) {
    await transaction.abort()
    return error
  }
  transaction.savepoint()
  const look = (object: Persistent): void => {
    object.physicalPath.toString()
    if (object instanceof Folder) for (const child of object.values()) look(child)
  }
  look(root)
  await transaction.abort()
  return undefined
}

const refusal = (error: unknown) =>
  error instanceof ObjectError && ['INVALID_ARGUMENT', 'UNKNOWN_CLASS'].includes(error.code) ? undefined : error

t.test('what was made up is refused, with valid checksums too', async t => {
  const db = await withShop()
  const file = await exported(db)
  const connection = db.open()
  const leaf = (key: unknown, value: unknown) => ({ keys: [key], values: [value], splits: 0 })
  const folderOf = (...rest: Buffer[]) =>
    sealed([
      record(1, 'Folder', { title: '', children: to(2, 'BTree') }),
      record(2, 'BTree', { top: to(3, 'BTreeLeaf'), count: to(4, 'Counter') }),
      ...rest,
    ])
  const one = record(4, 'Counter', { value: 1 })
  const inPlace = (name: string, parent: unknown = to(1, 'Folder')) => ({ __parent__: parent, __name__: name })
  const good = folderOf(record(3, 'BTreeLeaf', leaf('x', to(5, 'Box'))), one, record(5, 'Box', inPlace('x')))
  t.equal(await attempt(connection, good), undefined, 'the test can make a good file')
  const flipped = Buffer.from(file)
  flipped[200]! ^= 1
  const nested = (depth: number) => Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.of(0xc0)])
  const raw = (hex: string, ...more: Buffer[]) =>
    sealed([body(1, 'Box', Buffer.concat([Buffer.from(hex, 'hex'), ...more]))])
  const cases: [string, Uint8Array, RegExp][] = [
    ['nothing', Buffer.alloc(0), /at byte 0: it ends too early/],
    ['text', Buffer.from('hello, this is text'), /it is no export file/],
    ['another version', Buffer.from('894f54580d0a1a0a0002', 'hex'), /has version 2 of the format/],
    ['no objects', sealed([]), /0 objects/],
    ['a wrong count', sealed(bodiesOf(file), 5), /says that it has 5/],
    ['a flipped bit', flipped, /at byte \d{3}: the checksum of a record does not agree/],
    [
      'a flipped bit in the trailer',
      Buffer.from(file).fill(0, file.length - 33, file.length - 32),
      /checksum of the whole/,
    ],
    ['more behind', Buffer.concat([file, Buffer.of(0)]), /something follows/],
    ['twice', Buffer.concat([file, file]), /something follows/],
    ['a huge record', Buffer.from('894f54580d0a1a0a000152ffffffff00000000', 'hex'), /a record of 4294967295 bytes/],
    ['no class', sealed([body(1, '', stateOf({}))]), /header is cut off/],
    ['a wrong number', sealed([record(2, 'Box', {})]), /it has number 2/],
    ['a missing object', sealed([record(1, 'Box', { friend: to(9, 'Box') })]), /object 9 is referred to/],
    ['object 0', sealed([record(1, 'Box', { friend: to(0, 'Box') })]), /refers to object 0/],
    ['object -1', sealed([record(1, 'Box', { friend: to(-1, 'Box') })]), /refers to object -1/],
    ['a fraction', sealed([record(1, 'Box', { friend: to(1.5, 'Box') })]), /refers to object 1.5/],
    [
      'a huge number',
      sealed([record(1, 'Box', { friend: to(2 ** 32 - 1, 'Box') })]),
      /object 4294967295 is referred to/,
    ],
    ['two classes', sealed([record(1, 'Box', { friend: to(1, 'Folder') })]), /a Folder here and a Box there/],
    ['a name in the top', sealed([record(1, 'Box', { __name__: 'x' })]), /the top has a container/],
    [
      'a plain container',
      sealed([record(1, 'Box', { friend: to(2, 'Box') }), record(2, 'Box', inPlace('x', 'y'))]),
      /no object/,
    ],
    [
      'a loop',
      sealed([record(1, 'Box', { friend: to(2, 'Box') }), record(2, 'Box', inPlace('x', to(2, 'Box')))]),
      /in itself/,
    ],
    ['__proto__', raw('81a95f5f70726f746f5f5f81a16101'), /an attribute has the name __proto__/],
    [
      'a class called __proto__ in a class that is',
      sealed([record(1, 'Box', { friend: to(2, '__proto__') })]),
      /object 2/,
    ],
    ['an array of 4 thousand millions', raw('81a161ddffffffff'), /claims more values/],
    ['a map of as many', raw('dfffffffff'), /claims more values/],
    ['a string of as many', raw('81a161dbffffffff'), /ends too early/],
    ['an extension of as many', raw('81a161c9ffffffff74'), /ends too early/],
    [
      'arrays that all claim much',
      raw('81a161', ...Array.from({ length: 1000 }, () => Buffer.from('dd00ffffff', 'hex'))),
      /claims more/,
    ],
    ['a regular expression', raw('81a161c70078a0'), /extension type 120/],
    ['a record definition', raw('81a161d4724091a161'), /extension type 114/],
    ['an error', raw('81a161d46500'), /extension type 101/],
    ['no map', raw('01'), /no attributes/],
    ['two values', raw('8080'), /something follows/],
    ['an unknown special', raw('81a161d4530091a3616263'), /unknown kind/],
    ['a special called __proto__', raw('81a161d4530091a95f5f70726f746f5f5f'), /unknown kind/],
    ['deep nesting', raw('81a161', nested(200_000)), /cannot be decoded|cannot be stored/],
    [
      'a leaf out of shape',
      folderOf(record(3, 'BTreeLeaf', { keys: ['a'], values: [], splits: 0 }), one),
      /more or fewer/,
    ],
    [
      'a leaf in disorder',
      folderOf(record(3, 'BTreeLeaf', { keys: ['b', 'a'], values: [1, 2], splits: 0 }), one),
      /disorder/,
    ],
    [
      'a child called ..',
      folderOf(record(3, 'BTreeLeaf', leaf('..', to(5, 'Box'))), one, record(5, 'Box', inPlace('..'))),
      /".."/,
    ],
    [
      'a child that is elsewhere',
      folderOf(record(3, 'BTreeLeaf', leaf('x', to(5, 'Box'))), one, record(5, 'Box', inPlace('y'))),
      /does not know it/,
    ],
    ['a child that is no object', folderOf(record(3, 'BTreeLeaf', leaf('x', 5)), one), /no sound folder/],
    [
      'a wrong count of children',
      folderOf(
        record(3, 'BTreeLeaf', leaf('x', to(5, 'Box'))),
        record(4, 'Counter', { value: 7 }),
        record(5, 'Box', inPlace('x')),
      ),
      /counts 7/,
    ],
    ['a folder without children', sealed([record(1, 'Folder', { title: '' })]), /state is none of its class/],
    [
      'a tree that contains itself',
      sealed([
        record(1, 'Folder', { children: to(2, 'BTree') }),
        record(2, 'BTree', { top: to(3, 'BTreeBranch'), count: to(4, 'Counter') }),
        record(3, 'BTreeBranch', { keys: [], children: [to(3, 'BTreeBranch')], splits: 0 }),
        one,
      ]),
      /in two places/,
    ],
    ['a blob with null for a content', sealed([record(1, 'Blob', { content: null })]), /says of its content/],
    [
      'a blob whose content is named like a path',
      sealed([record(1, 'Blob', { content: { id: '../../x', size: 1, sha256: 'a'.repeat(64) } })]),
      /says of its content/,
    ],
    [
      'a weak reference to nothing',
      sealed([record(1, 'PersistentRef', { oid: 5, database: '' })]),
      /object 5, which is not there/,
    ],
  ]
  for (const [name, hostile, message] of cases) {
    const error = await attempt(connection, hostile)
    t.equal(refusal(error), undefined, name)
    t.match((error as Error | undefined)?.message ?? 'accepted', message, name)
  }
  t.same(connection.root.ids(), ['outside', 'shop'])
  t.equal(({} as { x?: number }).x, undefined)
  connection.close()
  await db.close()
})

t.test('a file that was cut off anywhere is refused', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => void app.add('f', new Folder()).add('box', new Box()))
  const file = await exported(db, '/f')
  const connection = db.open()
  for (let length = 0; length < file.length; length++) {
    const error = await attempt(connection, file.subarray(0, length))
    if (!/ends too early/.test((error as Error | undefined)?.message ?? 'accepted')) t.fail(`${length} bytes: ${error}`)
  }
  t.equal(await attempt(connection, file), undefined)
  await t.rejects(
    importTree(
      connection.root,
      'x',
      (async function* () {
        yield file.subarray(0, 30)
        throw new Error('the line is dead')
      })(),
    ),
    { message: 'the line is dead' },
  )
  t.equal(connection.root.has('x'), false)
  connection.close()
  await db.close()
})

t.test('property: of 10,000 changed files none is imported in part, none breaks anything', async t => {
  const db = await withShop()
  const file = await exported(db)
  const bodies = bodiesOf(file)
  t.ok(sealed(bodies).equals(file), 'the test understands the format')
  const connection = db.open()
  const edit = fc.tuple(fc.nat(), fc.constantFrom('set', 'flip', 'insert', 'delete', 'copy'), fc.nat(255), fc.nat(40))
  const edited = (bytes: Buffer, [place, how, byte, length]: [number, string, number, number]): Buffer => {
    const at = place % (bytes.length + 1)
    const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)]
    if (how === 'set') return Buffer.concat([before, Buffer.of(byte), after.subarray(1)])
    if (how === 'flip')
      return Buffer.concat([before, Buffer.of((after[0] ?? 0) ^ (1 << (byte % 8))), after.subarray(1)])
    if (how === 'insert') return Buffer.concat([before, Buffer.alloc(length, byte), after])
    if (how === 'delete') return Buffer.concat([before, after.subarray(length)])
    return Buffer.concat([before, bytes.subarray(length, length * 2), after])
  }
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async edits => {
      const hostile = edits.reduce(edited, file)
      if (hostile.equals(file)) return
      const error = await attempt(connection, hostile)
      if (error === undefined) throw new Error('it was imported')
      if (refusal(error) !== undefined) throw error
    }),
    { numRuns: 6000 },
  )
  let accepted = 0
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.array(edit, { minLength: 1, maxLength: 3 }), async (which, edits) => {
      const changed = bodies.with(which % bodies.length, edits.reduce(edited, bodies[which % bodies.length] as Buffer))
      const error = await attempt(connection, sealed(changed))
      if (error === undefined) accepted += 1
      else if (refusal(error) !== undefined) throw error
    }),
    { numRuns: 4000 },
  )
  t.comment(`${accepted} of 4000 with right checksums were sound`)
  t.same(connection.root.ids(), ['outside', 'shop'])
  connection.close()
  t.ok((await db.verify()).ok)
  await db.close()
})
