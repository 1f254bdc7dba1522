/** Wrong kinds of arguments: whatever a program passes to the public functions, what comes back is an error with a code. */
import { join } from 'node:path'
import t from 'tap'
import {
  type Application,
  acquire,
  Blob,
  BTree,
  COMPOSE_ERROR_CODES,
  Counter,
  type Database,
  ERROR_CODES,
  exportTree,
  File,
  Folder,
  importTree,
  MAILDROP_ERROR_CODES,
  MaildropHost,
  OrderedFolder,
  openDatabase,
  Persistent,
  PersistentList,
  PersistentMap,
  PersistentRef,
  propertiesOf,
  registerClass,
  renderFile,
  restoreDatabase,
  setProperty,
  subscribe,
  TEMPLATE_ERROR_CODES,
  Template,
  type Transaction,
} from '../../objects/index.ts'
import { codeOf, newLevel } from '../support/database.ts'
import { directory } from '../support/program.ts'

class Thing extends Persistent {}
registerClass('Thing', Thing)

const CODES = [ERROR_CODES, COMPOSE_ERROR_CODES, MAILDROP_ERROR_CODES, TEMPLATE_ERROR_CODES].flatMap(Object.keys)
const WRONG: readonly unknown[] = [
  ...[undefined, null, true, 5, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 10n, Symbol('s')],
  ...['', 'text', 'a\0b', 'x'.repeat(10_000), {}, Object.create(null), [], [null], new Date(Number.NaN), () => 1],
]

// biome-ignore lint/suspicious/noExplicitAny: what the types forbid is what is tried
type Wrong = any

/** What would be made, or looked for, under the working directory. */
const isPath = (wrong: Wrong) => wrong === 'text' || wrong?.length === 10_000

async function drained(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const piece of pieces) all.push(piece)
  return Buffer.concat(all)
}

/** Options of that name, each wrong in turn. */
const each = (names: string[], run: (options: Wrong) => unknown): [string, (wrong: Wrong) => unknown][] => [
  ['options', run],
  ...names.map((name): [string, (wrong: Wrong) => unknown] => [name, wrong => run({ [name]: wrong })]),
]

/** Gives the call every wrong argument. @returns what it answered with errors that have no code */
async function uncoded(run: (wrong: Wrong) => unknown): Promise<string[]> {
  const found: string[] = []
  for (const wrong of WRONG) {
    const code = await codeOf(() => run(wrong))
    if (code !== undefined && !CODES.includes(code)) found.push(`${typeof wrong}: ${code}`)
  }
  return found
}

async function openTree(): Promise<Database<Application>> {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    for (const [id, object] of Object.entries({
      ...{ thing: new Thing(), blob: new Blob(), counter: new Counter(), file: new File(), host: new MaildropHost() },
      ...{ map: new PersistentMap([[1, 2]]), list: new PersistentList([1]), tree: BTree.from([[1, 2]]) },
      ...{ template: new Template('Hello'), ordered: new OrderedFolder(), folder: new Folder() },
    }))
      app.add(id, object)
  })
  return db
}

t.test('of a database', async t => {
  const home = await directory(t)
  const db = await openTree()
  const open = async (location: Wrong, options?: Wrong) => (await openDatabase(location, options)).close()
  let copies = 0
  const calls: [string, (wrong: Wrong) => unknown][] = [
    ['openDatabase', wrong => !isPath(wrong) && open(wrong)],
    ...each(['create', 'salvage', 'cacheSize', 'cacheBytes', 'maildropConfigs'], options => open(newLevel(), options)),
    ['transact', wrong => db.transact(wrong)],
    ...each(['user', 'note', 'attempts'], options => db.transact(app => app.add('new', new Thing()), options)),
    ...each(['at', 'before', 'readOnly', 'cacheSize'], options => db.open(options).close()),
    ...each(['first', 'last', 'filter'], options => db.undoLog(options)),
    ['undo', wrong => db.undo(wrong)],
    ['undo of a list', wrong => db.undo([wrong])],
    ...each(['user', 'note', 'signal'], options => db.undo(1, options)),
    ['assertUndoable', wrong => db.assertUndoable(wrong)],
    ['history', wrong => db.history(wrong)],
    ...each(['size'], options => db.history('/', options)),
    ...each(['before', 'gc', 'progress'], options => db.pack(options)),
    ...each(['progress'], options => db.verify(options)),
    ...each(['progress'], options => db.stats(options)),
    ...each(['user', 'note', 'progress'], options => db.upgrade(options)),
    ['backup', wrong => !isPath(wrong) && db.backup(wrong)],
    ...each(['progress'], options => db.backup(join(home, `${++copies}`), options)),
    ['restoreDatabase', wrong => !isPath(wrong) && restoreDatabase(wrong, join(home, 'none'))],
    ['restoreDatabase to', wrong => !isPath(wrong) && restoreDatabase(join(home, 'none'), wrong)],
    ...each(['since', 'signal'], options => {
      const signal = AbortSignal.timeout(1)
      return db.changes(options === null || typeof options !== 'object' ? options : { signal, ...options }).return?.()
    }),
    ['registerClass', wrong => registerClass(wrong, Thing)],
    ['registerClass of a class', wrong => registerClass('Thing', wrong)],
    ...each(['version', 'upgrade', 'aliases'], options => registerClass('Thing', Thing, options)),
    ['subscribe', wrong => subscribe(wrong, () => {})()],
    ['subscribe a listener', wrong => subscribe(db, wrong)()],
    ...each(['under', 'type'], options => subscribe(db, () => {}, options)()),
  ]
  for (const [what, run] of calls) t.same(await uncoded(run), [], what)
  registerClass('Thing', Thing)
  await db.close()
})

t.test('of objects and transactions', async t => {
  const db = await openTree()
  const message = 'From: a@example.org\nTo: b@example.org\n\nText'
  const calls = (app: Application, bytes: Uint8Array, tx: Transaction): [string, (wrong: Wrong) => unknown][] => {
    const at = (id: string): Wrong => app.get(id)
    const [folder, ordered, tree, map, list, host] = ['folder', 'ordered', 'tree', 'map', 'list', 'host'].map(at)
    const send = (options: Wrong) => host.send(message, options)
    return [
      ['importTree', wrong => importTree(wrong, 'new', bytes)],
      ['importTree id', wrong => importTree(app, wrong, bytes)],
      ['importTree source', wrong => importTree(app, 'new', wrong)],
      ['importTree pieces', wrong => importTree(app, 'new', [wrong])],
      ['exportTree', wrong => drained(exportTree(wrong))],
      ...each(['progress'], options => drained(exportTree(folder, options))),
      ['acquire', wrong => acquire(wrong, 'thing')],
      ['acquire name', wrong => folder.acquire(wrong)],
      ...['get', 'has', 'delete'].map((name): [string, Wrong] => [name, (wrong: Wrong) => folder[name](wrong)]),
      ['add', wrong => folder.add(wrong, new Thing())],
      ['add an object', wrong => folder.add('new', wrong)],
      ['rename', wrong => app.rename('thing', wrong)],
      ['move', wrong => app.move('thing', wrong)],
      ['copy', wrong => app.copy('thing', wrong)],
      ...[app, ordered].flatMap((each: Wrong) =>
        ['ids', 'values', 'entries'].flatMap((name): [string, Wrong][] => [
          [name, (wrong: Wrong) => each[name](wrong)],
          [`${name} of a range`, (wrong: Wrong) => each[name](undefined, wrong)],
        ]),
      ),
      ['traverse', wrong => app.traverse(wrong)],
      ['traverse a type', wrong => app.traverse('/thing', wrong)],
      ['create', wrong => app.create(wrong, new Thing())],
      ['create an object', wrong => app.create('/new', wrong)],
      ['create options', wrong => app.create('/new', new Thing(), wrong)],
      ['order', wrong => ordered.order(wrong)],
      ['BTree.from', wrong => BTree.from(wrong)],
      ...['get', 'has', 'delete', 'minKey', 'maxKey', 'set'].map((name): [string, Wrong] => [
        `BTree ${name}`,
        (wrong: Wrong) => tree[name](wrong),
      ]),
      ...each(['from', 'to', 'limit', 'reverse'], range => [...tree.entries(range)]),
      ['Counter', wrong => at('counter').change(wrong)],
      ['Blob', wrong => new Blob(wrong)],
      ['File', wrong => new File(wrong)],
      ['write', wrong => at('blob').write(wrong)],
      ['share', wrong => at('blob').share(wrong)],
      ['PersistentMap', wrong => new PersistentMap(wrong)],
      ['forEach', wrong => map.forEach(wrong)],
      ['map set', wrong => map.set(wrong, 1)],
      ['PersistentList', wrong => new PersistentList(wrong)],
      ...['at', 'set', 'splice', 'slice', 'sort', 'map', 'filter', 'find'].map((name): [string, Wrong] => [
        `list ${name}`,
        (wrong: Wrong) => list[name](wrong),
      ]),
      ['PersistentRef', wrong => new PersistentRef(wrong)],
      ...['beforeCommit', 'afterCommit', 'beforeAbort', 'afterAbort', 'join'].map((name): [string, Wrong] => [
        name,
        (wrong: Wrong) => typeof wrong !== 'function' && (tx as Wrong)[name](wrong),
      ]),
      ['join prepare', wrong => typeof wrong !== 'function' && tx.join({ sortKey: 's', prepare: wrong })],
      ['propertiesOf', wrong => propertiesOf(wrong)],
      ['setProperty', wrong => setProperty(folder, wrong, 'x')],
      ['setProperty text', wrong => setProperty(folder, 'title', wrong)],
      ['renderFile', wrong => renderFile(wrong, {})],
      ['Template', wrong => new Template(wrong)],
      ['Template options', wrong => new Template('', wrong)],
      ['render', wrong => at('template').render({}, wrong)],
      ['MaildropHost', wrong => new MaildropHost(wrong)],
      ['send', wrong => host.send(wrong, { to: 'a@example.org', from: 'b@example.org' })],
      ...each(['to', 'from', 'subject', 'encode', 'charset', 'type', 'sendAt', 'key', 'autoSubmitted', 'allow'], send),
      ...[0, 1, 2, 3].map((i): [string, Wrong] => [
        `simpleSend ${i}`,
        (wrong: Wrong) => host.simpleSend(...['a@example.org', 'b@example.org', 's', 'b'].with(i, wrong)),
      ]),
      [
        'an attachment',
        wrong => host.send({ text: 'x', attachments: [{ content: wrong }] }, { to: 'a@b.c', from: 'a@b.c' }),
      ],
      ['sendTemplate', wrong => host.sendTemplate(wrong)],
      ['status', wrong => host.status(wrong)],
      ['log', wrong => host.log(wrong)],
    ]
  }
  const connection = db.open()
  const { root } = connection
  const bytes = await drained(exportTree(root.get('thing') as Thing))
  for (const [what, run] of calls(root, bytes, connection.transaction)) t.same(await uncoded(run), [], what)
  for (const [wrong, found] of [
    [null, 'null'],
    [undefined, 'undefined'],
    [5, '5'],
    ['text', "'text'"],
    [{}, '{}'],
  ] as [Wrong, string][])
    await t.rejects(importTree(root, 'imported', wrong), {
      code: 'INVALID_ARGUMENT',
      message: `import: expected the bytes of an export file, or a stream of them, found ${found}`,
    })
  await importTree(root, `_${'x'.repeat(9_000_000)}`, null as Wrong).then(
    () => t.fail('a name of nine million characters'),
    ({ code, message }) => t.ok(code === 'INVALID_ID' && message.length < 5_000),
  )
  await connection.abandon()
  await db.close()
})
