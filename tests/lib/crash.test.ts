/** The database under kill -9, and in two processes at once. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, renameSync, symlinkSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { LOADER } from '../support/children.ts'
import { type Item, openTestDatabase } from '../support/database.ts'
import { removeDirectory } from '../support/program.ts'

const COMMITTER = fileURLToPath(new URL('../support/committer.ts', import.meta.url))
const KILLS = 60
const LANES = 3

async function directory(t: Test): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'crash-'))
  t.teardown(() => removeDirectory(home))
  return join(home, 'objects')
}

/** Runs a committer and kills it at a random moment. @returns the last commit that it reported */
async function commitAndKill(home: string): Promise<number> {
  const child = spawn(process.execPath, [LOADER, COMMITTER, home], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  let output = ''
  child.stdout.setEncoding('utf8').on('data', text => {
    output += text
  })
  await Promise.race([once(child.stdout, 'data'), exit])
  await delay(Math.random() * 60)
  child.kill('SIGKILL')
  await exit
  const complete = output.slice(0, output.lastIndexOf('\n')).split('\n')
  return Number(complete.at(-1))
}

t.test(`${KILLS} times killed while committing: no acknowledged commit is lost, none is there by half`, async t => {
  const lane = async () => {
    const home = await directory(t)
    for (let kill = 0; kill < KILLS / LANES; kill++) {
      const acknowledged = await commitAndKill(home)
      const db = await openTestDatabase(home)
      const { n, labels } = await db.transact(root => ({
        n: root.n,
        labels: [...root.tree.values(0, 20)].map(item => (item as Item).label),
      }))
      await db.close()
      t.ok(acknowledged > 0 && n >= acknowledged, `commit ${acknowledged} was acknowledged, ${n} is there`)
      t.same(labels, new Array(20).fill(`${n}`), 'all objects are of one transaction')
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
})

t.test('killed while it makes the database: the next process finds a sound one, or makes it', async t => {
  for (const name of ['TABLES.new', 'TABLES', 'CURRENT', 'COMMITTED']) {
    const home = await directory(t)
    const child = spawn(process.execPath, [LOADER, COMMITTER, home], { stdio: ['ignore', 'pipe', 'inherit'] })
    const exit = once(child, 'exit')
    // one that is there for a moment only may be missed
    while (!existsSync(join(home, name)) && !existsSync(join(home, 'COMMITTED'))) await new Promise(setImmediate)
    child.kill('SIGKILL')
    await exit
    for (let turn = 0; turn < 2; turn++) {
      const db = await openTestDatabase(home)
      t.match(await db.verify(), { ok: true }, `killed when ${name} was there`)
      await db.close()
    }
  }
})

t.test('a second process is refused, and told who has the database', async t => {
  const home = await directory(t)
  const child = spawn(process.execPath, [LOADER, COMMITTER, home], { stdio: ['ignore', 'pipe', 'inherit'] })
  const exit = once(child, 'exit')
  await once(child.stdout, 'data')
  const who = process.platform === 'linux' ? new RegExp(`process ${child.pid} \\(.*committer`) : /another process/
  await t.rejects(openTestDatabase(home), { code: 'DATABASE_LOCKED', message: who })
  // as it is for a moment while the other one makes it, or has just removed a log
  symlinkSync('gone', join(home, 'gone.log'))
  renameSync(join(home, 'CURRENT'), join(home, 'CURRENT.away'))
  await t.rejects(openTestDatabase(home), { code: 'DATABASE_LOCKED', message: who })
  renameSync(join(home, 'CURRENT.away'), join(home, 'CURRENT'))
  await t.rejects(openTestDatabase(home), { code: 'DATABASE_LOCKED', message: who })
  child.kill('SIGKILL')
  await exit
  const db = await openTestDatabase(home)
  await t.rejects(openTestDatabase(home), { code: 'DATABASE_LOCKED', message: /this process has it open already/ })
  const third = spawn(process.execPath, [LOADER, COMMITTER, home], { stdio: ['ignore', 'pipe', 'pipe'] })
  let errors = ''
  third.stderr.setEncoding('utf8').on('data', text => {
    errors += text
  })
  await once(third, 'close')
  t.match(errors, 'DATABASE_LOCKED', 'the refusal within the process has not given up its lock')
  await db.close()
})

t.test('what is no object database is refused, and left alone', async t => {
  const { Level } = await import('level')
  const home = await directory(t)
  await t.rejects(openTestDatabase(home, { create: false }), { code: 'NOT_FOUND', message: /init/ })
  const other = new Level(home.concat('-other'))
  await other.put('some', 'thing')
  await other.close()
  const before = readdirSync(home.concat('-other')).sort()
  await t.rejects(openTestDatabase(home.concat('-other')), { code: 'DATABASE_FORMAT', message: /something else/ })
  t.same(readdirSync(home.concat('-other')).sort(), before)
  await t.rejects(openTestDatabase(join(COMMITTER, 'below-a-file')), { code: 'DATABASE_FAILED' })
})
