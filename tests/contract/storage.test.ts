/**
 * The storage contract over LevelDB on disk, over memory-level, through a storage that wraps another, and through the socket of a process
 * that has the database open.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { RemoteStorage } from '../../administration/remote/storage.ts'
import { BTree, Database } from '../../lib/index.ts'
import { openDirectory } from '../../lib/storage/directory.ts'
import type { Level } from '../../lib/storage/level.ts'
import { LevelStorage } from '../../lib/storage/level-storage.ts'
import type { Storage } from '../../lib/storage/storage.ts'
import { LOADER } from '../support/children.ts'
import { newLevel } from '../support/database.ts'
import { removeDirectory } from '../support/program.ts'
import { storageContract } from './storage.ts'

t.test('over LevelDB on disk', async t => {
  const home = await mkdtemp(join(tmpdir(), 'storage-'))
  t.teardown(() => removeDirectory(home))
  let count = 0
  const open = async (directory: string) => {
    const { level, witness } = await openDirectory(directory, { create: true })
    return LevelStorage.open(level, directory, { create: true, witness })
  }
  storageContract(t, {
    open: () => open(join(home, `${count++}`)),
    async reopen(storage) {
      await storage.close()
      return open(storage.location)
    },
  })
})

t.test('who hears of the writes of a level gets keys that stay as they are', async t => {
  const home = await mkdtemp(join(tmpdir(), 'storage-'))
  t.teardown(() => removeDirectory(home))
  const { level } = await openDirectory(home, { create: true })
  const keys: string[] = []
  const written: { key: Buffer }[] = []
  level.on('write', operations => written.push(...(operations as unknown as { key: Buffer }[])))
  const database = new Database(await LevelStorage.open(level, home, { create: true }), {})
  const connection = database.open()
  for (let i = 0; i < 3; i++) connection.add(new BTree())
  await connection.transaction.commit()
  for await (const key of level.keys({ keyEncoding: 'hex', gte: '6f', lt: '70' })) keys.push(key as unknown as string)
  t.same(
    written.map(({ key }) => key.toString('hex')).filter(key => key.startsWith('6f')),
    keys,
  )
  t.ok(keys.length >= 3)
  connection.close()
  await database.close()
})

t.test('over memory-level', async t => {
  const levels = new Map<string, Level>()
  storageContract(t, {
    open() {
      const level = newLevel()
      const name = `memory-${levels.size}`
      levels.set(name, level)
      return LevelStorage.open(level, name, { create: true })
    },
    async reopen(storage) {
      const level = levels.get(storage.location)!
      await storage.close()
      await level.open()
      return LevelStorage.open(level, storage.location, { create: false })
    },
  })
})

/** A storage that has nothing but the contract, and passes everything on. */
function wrapping(inner: Storage): Storage {
  return {
    get location() {
      return inner.location
    },
    get id() {
      return inner.id
    },
    get lastTid() {
      return inner.lastTid
    },
    get packed() {
      return inner.packed
    },
    get damage() {
      return inner.damage
    },
    get blobs() {
      return inner.blobs
    },
    snapshot: () => inner.snapshot(),
    newOid: () => inner.newOid(),
    commit: commit => inner.commit(commit),
    commitAtRest: plan => inner.commitAtRest(plan),
    onCommit: listener => inner.onCommit(listener),
    records: () => inner.records(),
    countRecords: () => inner.countRecords(),
    transaction: tid => inner.transaction(tid),
    transactions: range => inner.transactions(range),
    pack: options => inner.pack(options),
    copyTo: (level, progress) => inner.copyTo(level, progress),
    outboxRows: prefix => inner.outboxRows(prefix),
    writeOutbox: (rows, options) => inner.writeOutbox(rows, options),
    settled: () => inner.settled(),
    close: () => inner.close(),
  }
}

t.test('through a storage that wraps another', async t => {
  const levels = new Map<string, Level>()
  storageContract(t, {
    async open() {
      const level = newLevel()
      const name = `wrapped-${levels.size}`
      levels.set(name, level)
      return wrapping(await LevelStorage.open(level, name, { create: true }))
    },
    async reopen(storage) {
      const level = levels.get(storage.location)!
      await storage.close()
      await level.open()
      return wrapping(await LevelStorage.open(level, storage.location, { create: false }))
    },
  })
})

t.test('through the socket of a process that has it open', async t => {
  const home = await mkdtemp(join(tmpdir(), 'storage-'))
  t.teardown(() => removeDirectory(home))
  const host = fork(fileURLToPath(new URL('../support/guest-host.ts', import.meta.url)), { execArgv: [LOADER] })
  t.teardown(() => host.kill('SIGKILL'))
  await once(host, 'message')
  const tell = async (what: object) => {
    host.send(what)
    await once(host, 'message')
  }
  const open = async (directory: string) => {
    await tell({ open: directory })
    return (await RemoteStorage.connect(directory, 'ann')) as RemoteStorage
  }
  let count = 0
  await storageContract(t, {
    guest: true,
    open: () => open(join(home, `${count++}`)),
    async reopen(storage) {
      await storage.close()
      await tell({ close: storage.location })
      return open(storage.location)
    },
  })
  await t.test('what two guests change beside each other is merged, through splits too', async t => {
    const storage = await open(join(home, 'merging'))
    const databases = [storage, (await RemoteStorage.connect(storage.location, 'ben')) as RemoteStorage].map(
      each => new Database(each, {}),
    )
    const first = databases[0]!.open()
    const tree = BTree.from(Array.from({ length: 64 }, (_, i) => [i * 10, i]))
    const oid = first.add(tree)
    await first.transaction.commit()
    first.close()
    const connections = databases.map((database, guest) => {
      const connection = database.open()
      const own = connection.get(oid) as BTree
      for (let i = 0; i < 80; i++) own.set(i * 10 + 1 + guest, guest)
      return connection
    })
    for (const each of connections) await each.transaction.commit()
    const last = databases[0]!.open()
    const merged = last.get(oid) as BTree
    t.same([[...merged.keys()].length, merged.size, merged.get(791), merged.get(792)], [224, 224, 0, 1])
    for (const each of [...connections, last]) each.close()
    for (const each of databases) await each.close()
  })
})
