/** Classes that change: versions, names, and objects whose class is not known. */
import t from 'tap'
import { Broken, Persistent, registerClass } from '../../lib/index.ts'
import { codeOf, newLevel, openTestDatabase } from '../support/database.ts'
import { watchMemory } from '../support/memory.ts'
import { directory } from '../support/program.ts'
import { unregisterClass } from '../support/registry.ts'

class Person extends Persistent {
  name = ''
  other: Person | undefined = undefined
}

/** Registers another class under the name, as a newer program would. */
function replace(name: string, make: () => void): void {
  unregisterClass(name)
  make()
}

t.test('upgrade stores older objects anew, under their present names, and is then done', async t => {
  const level = newLevel()
  registerClass('tests.Person', Person)
  const db = await openTestDatabase(level)
  await db.transact(root => {
    for (let i = 0; i < 1200; i++) {
      const person = new Person()
      person.name = `Ann ${i}`
      person.other = person
      root.tree.set(i, person)
    }
  })
  class Member extends Persistent {
    first = ''
    last = ''
    other: Member | undefined = undefined
  }
  replace('tests.Person', () =>
    registerClass('tests.Member', Member, {
      version: 2,
      aliases: ['tests.Person'],
      upgrade: ({ name, ...rest }, from) => {
        t.equal(from, 1)
        const [first, last] = String(name).split(' ')
        return { ...rest, first, last }
      },
    }),
  )
  await db.transact(root => {
    const member = root.tree.get(7) as Member
    t.same([member.first, member.last, member.other === member], ['Ann', '7', true], 'read before anything is stored')
  })
  const steps: number[] = []
  const upgraded = await db.upgrade({ user: 'ann', progress: done => steps.push(done) })
  t.ok(upgraded >= 1200 && upgraded < 1400, `${upgraded}: the members, and what refers to them by their old name`)
  t.ok(steps.length > 2, 'in several transactions')
  t.equal(await db.upgrade(), 0)
  t.match(await db.undoLog({ last: 1 }), [{ user: 'ann', note: 'upgrade of classes' }])

  replace('tests.Member', () => registerClass('tests.Member', Member, { version: 2 }))
  await db.transact(root => {
    for (const [i, member] of root.tree.entries() as Generator<[number, Member]>)
      if (member.first !== 'Ann' || member.last !== `${i}`) t.fail(`member ${i}`)
  })

  replace('tests.Member', () => registerClass('tests.Member', Member, { version: 1 }))
  const failure = await db.transact(root => (root.tree.get(7) as Member).first).catch(error => error)
  t.match(failure, { code: 'UNKNOWN_CLASS', message: /version 2, newer than the registered 1/ })
  unregisterClass('tests.Member')
  await db.close()
})

for (const way of ['taken back', 'packed away'])
  t.test(`upgrade passes over what is ${way} meanwhile`, async t => {
    class Passing extends Persistent {
      other: Passing | undefined
    }
    replace('tests.Passing', () => registerClass('tests.Passing', Passing))
    const db = await openTestDatabase(newLevel())
    const { tid } = await db.transact(async (root, tx) => {
      root.any = Object.assign(new Passing(), { other: new Passing() })
      await tx.commit()
      return tx
    })
    if (way === 'packed away') await db.transact(root => void (root.any = undefined))
    registerClass('tests.Passing', Passing, { version: 2 })
    const { storage } = db
    const records = storage.records.bind(storage)
    storage.records = async function* () {
      const current = []
      for await (const each of records()) if (each.current) current.push(each)
      t.equal(current.filter(({ record }) => record?.className === 'tests.Passing').length, 2)
      if (way === 'taken back') await db.undo(tid!)
      else t.equal((await db.pack()).objects, 2)
      yield* current
    }
    t.equal(await db.upgrade(), 0)
    await db.close()
  })

t.test('upgrade needs no more memory for a database four times as large', async t => {
  class Grown extends Person {}
  const growth: number[] = []
  for (const count of [1500, 6000]) {
    const db = await openTestDatabase(await directory(t))
    registerClass('tests.Grown', Person)
    for (let first = 0; first < count; first += 500)
      await db.transact(root => {
        for (let i = first; i < first + 500; i++) {
          const person = new Person()
          person.name = `${i}`.padStart(2000)
          root.tree.set(i, person)
        }
      })
    replace('tests.Grown', () => registerClass('tests.Grown', Grown, { version: 2, upgrade: state => state }))
    const memory = watchMemory()
    t.equal(await db.upgrade({ progress: done => done % 1500 === 0 && memory.look() }), count)
    growth.push(memory.growth)
    await db.close()
    unregisterClass('tests.Grown')
  }
  const [small, large] = growth as [number, number]
  t.ok(large - small < 4_000_000, `${small} bytes, then ${large}, where 9 million more were read and written`)
})

t.test('an object of an unknown class keeps its state byte for byte, and refuses changes', async t => {
  const level = newLevel()
  registerClass('tests.Lost', Person)
  const db = await openTestDatabase(level)
  await db.transact(root => {
    const person = new Person()
    person.name = 'Ann'
    root.any = person
  })
  const stored = async () =>
    (await level.iterator({ keyEncoding: 'buffer', valueEncoding: 'buffer' }).all())
      .filter(([key]) => (key as Buffer)[0] === 0x6f)
      .map(([, value]) => (value as Buffer).toString('latin1'))
      .filter(text => text.includes('tests.Lost') && text.includes('Ann'))
  const before = await stored()
  t.equal(before.length, 1)
  unregisterClass('tests.Lost')
  await db.transact(async root => {
    const lost = root.any as Broken & { name: string }
    t.type(lost, Broken)
    t.equal(lost._p_className, 'tests.Lost')
    t.equal(lost.name, 'Ann')
    t.equal(await codeOf(() => void (lost.name = 'Bob')), 'UNKNOWN_CLASS')
    root.list = [lost]
  })
  await db.upgrade()
  await db.pack()
  t.same(await stored(), before)
  registerClass('tests.Lost', Person)
  t.equal(await db.transact(root => (root.list[0] as Person).name), 'Ann')
  unregisterClass('tests.Lost')
  await db.close()
})
