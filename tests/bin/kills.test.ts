/** Commands that are killed at any moment: what they were about is done or not, never in between, and the same command completes it. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { objtreeUser, type User } from '../support/objtree.ts'
import { TOP } from '../support/program.ts'

const ROUNDS = 5

/** Starts a command in a process of its own and kills it after a while. @returns whether it had ended by itself */
async function killed(cwd: string, args: readonly string[], after: number): Promise<boolean> {
  const child = spawn(join(TOP, 'bin', 'objtree'), args, {
    cwd,
    env: { PATH: process.env.PATH, HOME: cwd },
    stdio: 'ignore',
  })
  const ended = once(child, 'exit')
  await Promise.race([ended, delay(after, undefined, { ref: false })])
  const byItself = child.exitCode !== null
  child.kill('SIGKILL')
  await ended
  return byItself
}

/** How long the command takes here and now, in milliseconds: kills are spread over that. */
async function duration(cwd: string, args: readonly string[]): Promise<number> {
  const start = performance.now()
  await killed(cwd, args, 120_000)
  return performance.now() - start
}

async function pages(user: User, path: string): Promise<string> {
  return JSON.stringify(await user.json(['tree', path]), (key, value) =>
    ['oid', 'changed', 'path'].includes(key) ? undefined : value,
  )
}

t.test('export-dir and import-dir', async t => {
  const user = await objtreeUser(t)
  const { cwd, ok, json } = user
  await mkdir(join(cwd, 'made', 'inner'), { recursive: true })
  for (let i = 0; i < 60; i++) await writeFile(join(cwd, 'made', i % 2 ? 'inner' : '', `page${i}.hbs`), `page ${i}`)
  await ok(['import-dir', 'made', '/shop'])
  const whole = await pages(user, '/shop')
  const time = await duration(cwd, ['export-dir', '/shop', 'first'])
  for (let round = 0; round < ROUNDS; round++) {
    await killed(cwd, ['export-dir', '/shop', 'files'], (time * (round + 1)) / ROUNDS)
    await ok(['export-dir', '/shop', 'files', '--force'])
    await ok(['import-dir', 'files', '/again', '--delete', '--yes'])
    t.equal(
      await pages(user, '/again').then(text => text.replace('"again"', '"shop"')),
      whole,
      'the same command completes it',
    )
    await rm(join(cwd, 'files'), { recursive: true, force: true })
  }
  for (let round = 0; round < ROUNDS; round++) {
    await killed(cwd, ['import-dir', 'made', '/new'], (time * (round + 1)) / ROUNDS)
    const there = (await json<{ name: string }[]>(['ls', '/'])).some(({ name }) => name === 'new')
    if (!there) continue
    t.equal((await pages(user, '/new')).replace('"new"', '"shop"'), whole, 'all of it, or nothing')
    await ok(['rm', '-r', '/new'])
  }
  t.match(await json(['verify']), { ok: true })
})

t.test('restore', async t => {
  const user = await objtreeUser(t)
  const { cwd, ok } = user
  await ok(['add', 'Folder', '/f', 'title=then'])
  await ok(['backup', 'backup'])
  await ok(['set', '/f', 'title=now'])
  const data = join(cwd, 'data')
  const prepared = join(cwd, 'prepared')
  await cp(data, prepared, { recursive: true })
  const time = await duration(cwd, ['restore', 'backup'])
  const seen = new Set<string>()
  for (let round = 0; round < ROUNDS; round++) {
    await rm(data, { recursive: true, force: true })
    await cp(prepared, data, { recursive: true })
    await killed(cwd, ['restore', 'backup'], (time * (round + 1)) / ROUNDS)
    const aside = readdirSync(data).find(name => name.startsWith('objects.before-restore'))
    const [, title] = /^title +string +(\w+)$/m.exec(await ok(['show', '/f'])) ?? []
    seen.add(title ?? '')
    t.equal(title, aside === undefined ? 'now' : 'then')
    await ok(['restore', 'backup'])
    t.match(await ok(['show', '/f']), /^title +string +then$/m)
  }
  t.comment([...seen].join(' '))
})
