/** Persistent objects: loading, change tracking, identity. */
import { inspect } from 'node:util'
import { addExtension } from 'msgpackr'
import t from 'tap'
import { Broken, BTree, type Connection, Counter, Persistent, registerClass } from '../../lib/index.ts'
import { Folder, openDatabase as openTree } from '../../objects/index.ts'
import { codeOf, Item, newLevel, openTestDatabase, type Root } from '../support/database.ts'

t.test('an object is loaded when it is read, and by every way of reading', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Item('x')
  })
  const reads: [string, (item: Item) => unknown, unknown][] = [
    ['an attribute', item => item.label, 'x'],
    ['in', item => 'label' in item, true],
    ['Object.keys', item => Object.keys(item), ['label', 'others']],
    ['a descriptor', item => Object.getOwnPropertyDescriptor(item, 'label')?.value, 'x'],
    ['JSON', item => JSON.stringify(item), '{"label":"x","others":[]}'],
    ['spreading', item => ({ ...item }).label, 'x'],
  ]
  for (const [name, read, expected] of reads) {
    const connection = db.open()
    const item = connection.root.any as Item
    t.equal(item._p_changed, undefined, 'it is a ghost')
    t.ok(item instanceof Item)
    t.match(inspect(item), /Item #\d+ \(ghost\)/)
    t.same(read(item), expected, name)
    t.equal(item._p_changed, false, 'it is loaded')
    connection.close()
  }
  await db.close()
})

t.test('inspect shows objects to the depth asked for, also those in a circle', t => {
  const [a, b] = [new Item('a'), new Item('b')]
  a.others.push(b)
  b.others.push(a)
  const shown = (depth: number) => inspect(a, { depth }).replace(/\s+/g, ' ')
  t.equal(shown(0), "Item { label: 'a', others: [Array] }")
  t.equal(shown(1), "Item { label: 'a', others: [ [Item] ] }")
  t.equal(shown(3), "Item { label: 'a', others: [ Item { label: 'b', others: [ [Item] ] } ] }")
  t.equal(inspect(a), inspect(a, { depth: 2 }))
  const whole = "Item { label: 'a', others: [ Item { label: 'b', others: [ [Circular Item] ] } ] }"
  t.equal(shown(Number.POSITIVE_INFINITY), whole)
  t.equal(inspect([a, a], { depth: null }).replace(/\s+/g, ' '), `[ ${whole}, ${whole} ]`)
  t.end()
})

t.test('constructors and field initialisers run for new objects only', async t => {
  let made = 0
  class Made extends Persistent {
    field = ++made
  }
  registerClass('Made', Made)
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Made()
  })
  await db.transact(root => t.equal((root.any as Made).field, 1))
  t.equal(made, 1)
  await db.close()
})

t.test('changes in place are seen, at every depth and by every method', async t => {
  const changes: [string, (root: Root) => void][] = [
    ['push', root => root.list.push(9)],
    ['pop', root => root.list.pop()],
    ['sort', root => (root.list as number[]).sort((a, b) => b - a)],
    ['reverse', root => root.list.reverse()],
    ['splice', root => root.list.splice(0, 1)],
    [
      'index assignment',
      root => {
        root.list[0] = 'z'
      },
    ],
    [
      'length assignment',
      root => {
        root.list.length = 1
      },
    ],
    ['copyWithin', root => root.list.copyWithin(0, 1)],
    ['fill', root => root.list.fill(0)],
    ['a nested array', root => (root.record.deep as { a: number[] }).a.push(3)],
    [
      'a nested attribute',
      root => {
        ;(root.record.deep as { b?: number }).b = 1
      },
    ],
    [
      'delete in an object',
      root => {
        delete root.record.deep
      },
    ],
    ['Object.assign', root => Object.assign(root.record, { more: 1 })],
    ['Map.set', root => root.map.set('k2', 1)],
    ['Map.delete', root => root.map.delete('k')],
    ['Map.clear', root => root.map.clear()],
    [
      'an object in a Map',
      root => {
        ;(root.map.get('k') as { v: number }).v = 7
      },
    ],
    ['Set.add', root => root.set.add('b')],
    ['Set.delete', root => root.set.delete('a')],
    ['a Date setter', root => (root.record.when as Date).setFullYear(1999)],
    [
      'a typed array element',
      root => {
        ;(root.record.bytes as Uint8Array)[0] = 255
      },
    ],
    ['a Buffer method', root => (root.record.buffer as Buffer).writeUInt8(7)],
    ['a destructured inner reference', ({ list }) => list.push('d')],
    [
      'delete of an attribute',
      root => {
        Reflect.deleteProperty(root, 'text')
      },
    ],
    [
      'defineProperty',
      root => {
        Object.defineProperty(root, 'n', { value: 5 })
      },
    ],
    [
      'a new attribute',
      root => {
        Reflect.set(root, 'fresh', 1)
      },
    ],
  ]
  for (const [name, change] of changes) {
    const db = await openTestDatabase()
    await db.transact(root => {
      root.list = [3, 1, 2]
      root.record = { deep: { a: [1] }, when: new Date(0), bytes: new Uint8Array(2), buffer: Buffer.from('x') }
      root.map = new Map([['k', { v: 1 }]])
      root.set = new Set(['a'])
    })
    const connection = db.open()
    connection.root.n // loaded, before the change
    change(connection.root)
    const expected = inspect(connection.root, { depth: 9 })
    t.equal(connection.root._p_changed, true, `${name} is seen`)
    await connection.transaction.commit()
    connection.close()
    await db.transact(root => t.equal(inspect(root, { depth: 9 }), expected, `${name} is stored`))
    await db.close()
  }
})

t.test('an inner reference kept across commits stays part of its object', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const { list } = connection.root
  for (const n of [1, 2, 3]) {
    list.push(n)
    await connection.transaction.commit()
    await db.transact(root => t.equal(root.list.length, n))
  }
  connection.close()
  await db.close()
})

t.test('inner values put into a new object stay part of it after the commit', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const list = [new Item('a')]
  const item = new Item('owner')
  item.others = list
  connection.root.any = item
  connection.root.tree.set('k', item.others)
  await connection.transaction.commit()
  list.push(new Item('b'))
  await connection.transaction.commit()
  connection.close()
  await db.transact(root => {
    t.same(
      (root.any as Item).others.map(other => other.label),
      ['a', 'b'],
    )
    t.same(
      (root.tree.get('k') as Item[]).map(other => other.label),
      ['a', 'b'],
    )
  })
  await db.close()
})

t.test('reading writes nothing', async t => {
  const db = await openTestDatabase()
  await db.transact(root => root.list.push({ a: 1 }))
  let commits = 0
  const connection = db.open()
  const before = connection.root._p_serial
  JSON.stringify(connection.root)
  connection.root.list.map(each => each)
  await connection.transaction.commit()
  await db.transact(root => {
    commits += root.list.length
  })
  t.equal(connection.root._p_serial, before)
  t.equal(commits, 1)
  connection.close()
  await db.close()
})

t.test('volatile attributes are not stored and change nothing', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const root = connection.root as Root & { _v_cache?: unknown }
  root._v_cache = () => 'not storable'
  t.equal(root._p_changed, false)
  root.n = 1
  await connection.transaction.commit()
  t.type(root._v_cache, 'function')
  root._p_deactivate()
  t.equal(root._v_cache, undefined)
  t.equal(root.n, 1)
  connection.close()
  await db.close()
})

t.test('one object per oid in a connection, distinct ones in two', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    const item = new Item('shared')
    root.list.push(item, item)
    root.tree.set('a', item)
  })
  const [a, b] = [db.open(), db.open()]
  t.equal(a.root.list[0], a.root.tree.get('a'))
  t.equal(a.root.list[0], a.get((a.root.list[0] as Item)._p_oid!))
  t.not(a.root.list[0], b.root.list[0])
  a.close()
  b.close()
  await db.close()
})

t.test('what is no oid finds no object, and none of a second identity', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  for (const oid of [1.5, '1', 0, -1, Number.NaN, 2 ** 53, null, undefined])
    t.equal(await codeOf(() => connection.get(oid as number)), 'OBJECT_NOT_FOUND', String(oid))
  t.equal(connection.get(1), connection.root)
  connection.close()
  await db.close()
})

t.test('accessors and methods of the class work on stored objects, and their writes are tracked', async t => {
  class Account extends Persistent {
    cents = 0
    get euros() {
      return this.cents / 100
    }
    set euros(value: number) {
      this.cents = value * 100
    }
    pay(euros: number) {
      this.euros += euros
      return this
    }
  }
  registerClass('Account', Account)
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Account()
  })
  await db.transact(root => t.equal((root.any as Account).pay(5).euros, 5))
  await db.transact(root => {
    t.equal((root.any as Account).cents, 500)
    t.notOk(Object.hasOwn(root.any as Account, 'euros'))
  })
  await db.close()
})

t.test('_p_deactivate keeps changes, _p_invalidate forgets them', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const { root } = connection
  root.list.push('unsaved')
  root._p_deactivate()
  t.same(root.list, ['unsaved'], 'also a change in place')
  root._p_invalidate()
  t.same(root.list, [])
  await connection.transaction.abort()
  connection.close()
  await db.close()
})

t.test('a new object is stored with what refers to it, though its mark was taken back', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    const item = new Item('new')
    root.any = item
    ;(root._p_jar as Connection).add(item)
    item._p_changed = false
  })
  await db.transact(root => t.equal((root.any as Item).label, 'new'))
  await db.pack()
  await db.close()
})

t.test('defining a property anew without a value keeps the one that it has', async t => {
  const item = new Item('kept')
  Object.defineProperty(item, 'label', { enumerable: true })
  t.equal(item.label, 'kept')
  t.throws(() => Object.defineProperty(item, 'label', { value: 'x', writable: false }), {
    code: 'INVALID_VALUE',
    message: /attribute label of Item cannot be set: attributes can be written/,
  })
})

t.test('what cannot be stored is refused with its attribute path, and nothing is stored', async t => {
  class Plain {}
  class Unregistered extends Persistent {}
  class OwnArray extends Array {}
  const values: [unknown, string, RegExp][] = [
    [() => 1, 'INVALID_VALUE', /record\.a\[1\] of Root.*function/],
    [Symbol('s'), 'INVALID_VALUE', /record\.a\[1\].*symbol/],
    [new Plain(), 'INVALID_VALUE', /record\.a\[1\].*class Plain/],
    [new OwnArray(), 'INVALID_VALUE', /record\.a\[1\].*class OwnArray/],
    [/x/, 'INVALID_VALUE', /record\.a\[1\].*RegExp/],
    [Object.assign([1], { named: 1 }), 'INVALID_VALUE', /record\.a\[1\].*named properties/],
    [{ [Symbol('k')]: 1 }, 'INVALID_VALUE', /record\.a\[1\].*symbols/],
    [Object.assign([1], { [Symbol('k')]: 1 }), 'INVALID_VALUE', /record\.a\[1\].*array with symbols/],
    [Object.assign(new Array(3), { [Symbol('k')]: 1 }), 'INVALID_VALUE', /record\.a\[1\].*array with symbols/],
    [Object.defineProperty({}, 'hidden', { value: 1 }), 'INVALID_VALUE', /record\.a\[1\].*not enumerable/],
    [Object.assign(new Map(), { x: 1 }), 'INVALID_VALUE', /record\.a\[1\].*Map with properties/],
    [Object.assign(new Set(), { [Symbol('k')]: 1 }), 'INVALID_VALUE', /record\.a\[1\].*Set with properties/],
    [Object.assign(new Date(0), { x: 1 }), 'INVALID_VALUE', /record\.a\[1\].*Date with properties/],
    [(function* () {})(), 'INVALID_VALUE', /record\.a\[1\].*class \(unknown\)/],
    [new Map([['k', new Plain()]]), 'INVALID_VALUE', /record\.a\[1\]\.get\(k\).*class Plain/],
    [new Map([[new Plain(), 1]]), 'INVALID_VALUE', /record\.a\[1\]\.keys\[0\].*class Plain/],
    [Promise.resolve(), 'INVALID_VALUE', /record\.a\[1\].*class Promise/],
    [new SharedArrayBuffer(1), 'INVALID_VALUE', /record\.a\[1\].*class SharedArrayBuffer/],
    [new Map([['k', () => 1]]), 'INVALID_VALUE', /record\.a\[1\]\.get\(k\).*function/],
    [
      new Unregistered(),
      'UNKNOWN_CLASS',
      /attribute record\.a\[1\] of Root \(object 1\) at \/\); call registerClass\('Unregistered'/,
    ],
  ]
  const db = await openTestDatabase()
  for (const [value, code, message] of values) {
    await t.rejects(
      db.transact(root => {
        root.n = 1
        root.record = { a: [0, value] }
      }),
      { code, message },
    )
  }
  await db.transact(root => t.equal(root.n, 0))
  await db.close()
})

t.test('a getter of a stored value counts as what it gives, and cannot disturb what is being stored', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Item('other')
    root.list = [1]
  })
  await db.transact(root => {
    root.text = 'before'
    root.record = {
      get now() {
        return 7
      },
    }
  })
  await db.transact(root =>
    t.same([root.text, Object.getOwnPropertyDescriptor(root.record, 'now')?.value], ['before', 7]),
  )
  const connection = db.open()
  const { root } = connection
  const item = root.any as Item
  item.others.length = 0
  root.record = {
    a: 1,
    get nested() {
      return item._p_changed === undefined
    },
    b: 2,
  }
  await connection.transaction.commit()
  await connection.transaction.abort()
  connection.close()
  await db.transact(({ record }) => t.same(record, { a: 1, nested: false, b: 2 }))
  const second = db.open()
  second.root.n = 1
  const run = db.transact(root => {
    root.record = {
      get again() {
        return second.transaction.savepoint() && 1
      },
    }
  })
  await t.rejects(run, { code: 'INVALID_VALUE', message: /Root \(object 1\) cannot be stored while.*getter/ })
  await second.transaction.abort()
  second.close()
  await db.close()
})

t.test('names and shapes that an object cannot have are refused with the reason', async t => {
  class Reading extends Persistent {
    get only(): number {
      return 1
    }
  }
  const object: Persistent & Record<string | symbol, unknown> = new Reading() as never
  const attempts: [() => unknown, RegExp][] = [
    [() => (object[Symbol('s')] = 1), /attribute Symbol\(s\) of Reading.*symbols/],
    [() => (object.constructor = Object), /attribute constructor.*choose another name/],
    [() => (object._p_mine = 1), /attribute _p_mine.*choose another name/],
    [() => Object.assign(object, { _p_oid: 7 }), /attribute _p_oid/],
    [() => (object.only = 2), /attribute only.*no setter/],
    [() => Object.defineProperty(object, 'x', { get: () => 1 }), /attribute x.*accessors in the class/],
    [() => Object.freeze(object), /cannot be frozen/],
    [() => Object.setPrototypeOf(object, null), /class of Reading cannot be changed/],
    [() => Object.assign(object, JSON.parse('{"__proto__": {"evil": 1}}')), /class of Reading cannot be changed/],
  ]
  for (const [attempt, message] of attempts) t.throws(attempt, { code: 'INVALID_VALUE', message })
  t.same(Object.keys(object), [])
})

t.test('objects of another connection or database are refused, both named', async t => {
  const [db, other] = [await openTestDatabase(), await openTestDatabase()]
  await other.transact(root => {
    root.any = new Item('foreign')
  })
  const foreign = other.open()
  await t.rejects(
    db.transact(root => {
      root.list = [foreign.root.any]
    }),
    { code: 'INVALID_REFERENCE', message: /list\[0\] of Root \(object 1\) at \/ .*Item \(object \d+\)/ },
  )
  const [inA, inB] = [await openTree(newLevel()), await openTree(newLevel())]
  for (const each of [inA, inB]) await each.transact(app => app.create('/a/b', new Folder(), { parents: true }))
  const theirs = inB.open()
  const folder = theirs.root.traverse('/a/b', Folder)
  for (const closed of [false, true]) {
    if (closed) theirs.close()
    await t.rejects(
      inA.transact(app => void Reflect.set(app.traverse('/a/b', Folder), 'friend', folder)),
      {
        code: 'INVALID_REFERENCE',
        message: /attribute friend of Folder \(object \d+\) at \/a\/b refers to Folder \(object \d+\) at \/a\/b, which/,
      },
    )
  }
  await inA.close()
  await inB.close()
  foreign.close()
  await db.close()
  await other.close()
})

t.test('objects of an ended transaction keep what they had loaded, and refuse the rest', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Item('x')
  })
  const root = await db.transact(root => {
    root.n
    return root
  })
  t.equal(root.n, 0)
  t.equal(await codeOf(() => (root.any as Item).label), 'CONNECTION_CLOSED')
  t.equal(
    await codeOf(() => {
      root.n = 1
    }),
    'CONNECTION_CLOSED',
  )
  t.equal(await codeOf(() => root._p_jar && db.open().close()), undefined)
  await db.close()
})

t.test('a class that is not registered loads as Broken, is kept, and refuses changes', async t => {
  const level = (await import('../support/database.ts')).newLevel()
  const { registerClass: register } = await import('../../lib/index.ts')
  class Passing extends Persistent {
    kept = 'state'
  }
  register('Passing', Passing)
  const db = await openTestDatabase(level)
  await db.transact(root => {
    root.any = new Passing()
    root.list = [root.any]
  })
  await db.close()

  const registry = await import('../support/registry.ts')
  registry.unregisterClass('Passing')
  const again = await openTestDatabase(level)
  await again.transact(root => {
    t.ok(root.any instanceof Broken)
    t.equal((root.any as { kept?: string }).kept, 'state')
    root.n = 1
  })
  t.equal(
    await codeOf(() =>
      again.transact(root => {
        ;(root.any as { kept: string }).kept = 'x'
      }),
    ),
    'UNKNOWN_CLASS',
  )
  register('Passing', Passing)
  await again.transact(root => {
    t.equal(root.n, 1, 'an object that refers to it can be changed')
    t.ok(root.any instanceof Passing)
    t.equal(root.list[0], root.any)
  })
  await again.close()
})

t.test('a state of an older version is upgraded when it is loaded, one of a newer version refused', async t => {
  class V1 extends Persistent {
    name = 'Ann Lee'
  }
  class V2 extends Persistent {
    first = ''
    last = ''
  }
  registerClass('Person', V1)
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new V1()
  })
  const registry = await import('../support/registry.ts')
  registry.unregisterClass('Person')
  registerClass('Human', V2, {
    version: 2,
    aliases: ['Person'],
    upgrade: ({ name }, from) => {
      t.equal(from, 1)
      const [first, last] = String(name).split(' ')
      return { first, last }
    },
  })
  await db.transact(root => t.equal((root.any as V2).last, 'Lee'))
  await db.transact(root => {
    ;(root.any as V2).first = 'Anna'
  })
  await db.transact(root => t.equal((root.any as V2).first, 'Anna'))
  registry.unregisterClass('Human')
  registerClass('Human', V2)
  await t.rejects(
    db.transact(root => (root.any as V2).first),
    { code: 'UNKNOWN_CLASS', message: /version 2, newer than the registered 1/ },
  )
  registry.unregisterClass('Human')
  await db.close()
})

t.test('an upgrade function that promises a state is refused, and a promise that it breaks ends nothing', async t => {
  class Late extends Persistent {}
  registerClass('Late', Late)
  const db = await openTestDatabase()
  await db.transact(root => void (root.any = new Late()))
  const upgrade = (async () => Promise.reject(new Error('too late'))) as never
  registerClass('Late', Late, { version: 2, upgrade })
  const load = db.transact(root => Object.keys(root.any as Late))
  await t.rejects(load, {
    code: 'INVALID_CLASS',
    message: /'Late', version 1 to 2, must return the attributes.*at once/,
  })
  await new Promise(setImmediate)
  await db.close()
})

t.test('a class is registered once, under one name', async t => {
  class A extends Persistent {}
  class B extends Persistent {}
  registerClass('NameA', A)
  registerClass('NameA', A, { version: 2 })
  t.equal(await codeOf(() => registerClass('NameA', B)), 'INVALID_CLASS')
  t.equal(await codeOf(() => registerClass('Other', A)), 'INVALID_CLASS')
  t.equal(await codeOf(() => registerClass('NameB', B, { aliases: ['NameA'] })), 'INVALID_CLASS')
  t.equal(await codeOf(() => registerClass('NameB', B, { version: 0 })), 'INVALID_CLASS')
  for (const name of ['', 'x'.repeat(256), 'é'.repeat(128), '\ud800', 5 as unknown as string]) {
    t.equal(await codeOf(() => registerClass(name, B)), 'INVALID_CLASS', String(name))
    t.equal(await codeOf(() => registerClass('NameB', B, { aliases: [name] })), 'INVALID_CLASS', String(name))
  }
  for (const none of [class {}, 5, undefined, () => 1])
    t.equal(await codeOf(() => registerClass('NameC', none as unknown as typeof B)), 'INVALID_CLASS', String(none))
  t.equal(await codeOf(() => registerClass('NameA', A, { upgrade: 'x' as never })), 'INVALID_CLASS')
  t.equal((await import('../../lib/registry.ts')).entryOf(B), undefined, 'what is refused leaves nothing')
  registerClass('NameA', A, { aliases: ['Earlier'] })
  registerClass('NameA', A, { version: 3 })
  registerClass('Earlier', B)
  const { classNamed } = await import('../../lib/registry.ts')
  t.same(
    [classNamed('NameA')?.version, classNamed('Earlier')?.ctor],
    [3, B],
    'registering again takes back earlier names',
  )
})

t.test('counters add up, trees take different keys, without conflict', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Counter()
    for (let i = 0; i < 10; i++) root.tree.set(i, i)
  })
  await Promise.all(
    Array.from({ length: 10 }, (_, i) =>
      db.transact(
        root => {
          ;(root.any as Counter).change(i)
          root.tree.set(i + 100, i)
          root.tree.delete(i - 5)
        },
        { attempts: 1 },
      ),
    ),
  )
  await db.transact(root => {
    const counter = root.any as Counter
    for (const delta of [Number.NaN, Number.POSITIVE_INFINITY, '5' as unknown as number])
      t.throws(() => counter.change(delta), { code: 'INVALID_ARGUMENT' })
    t.equal(counter.value, 45)
    t.same([...root.tree.keys()], [5, 6, 7, 8, 9, ...Array.from({ length: 10 }, (_, i) => i + 100)])
    t.ok(root.tree instanceof BTree)
  })
  await db.close()
})

t.test('other users of the codec in the process cannot change what is read', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Item('kept')
    root.map = new Map([['k', 1]])
  })
  class Theirs {}
  for (const type of [82, 83])
    addExtension({ Class: Theirs, type, write: () => 1, read: () => 'theirs' } as Parameters<typeof addExtension>[0])
  await db.transact(root => {
    t.equal((root.any as Item).label, 'kept')
    t.same(root.map, new Map([['k', 1]]))
  })
  await db.close()
})
