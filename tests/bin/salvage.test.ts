/** A damaged database: refused by name, read with --salvage, and what is left of it brought over by salvage. */
import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { objtreeUser, type User } from '../support/objtree.ts'

/** Reverses a byte in the middle of every other table. */
async function damage(directory: string, which: number): Promise<string> {
  const tables = (await readdir(directory)).filter(name => name.endsWith('.ldb')).sort()
  const table = tables[which % tables.length] as string
  const bytes = await readFile(join(directory, table))
  bytes[Math.floor(bytes.length / 3)]! ^= 0xff
  await writeFile(join(directory, table), bytes)
  return table
}

const objects = (user: User) => user.json<{ children?: { name: string }[] }>(['tree'])

t.test('what can be read of a damaged database is read, and brought over to a new one', async t => {
  const user = await objtreeUser(t)
  const { ok, fails, cwd, json } = user
  for (let i = 0; i < 12; i++)
    await ok(['add', 'Template', `/shop/page${i}`, `source=${'text '.repeat(200)}${i}`, '-p'])
  const before = await objects(user)
  const data = join(cwd, 'data', 'objects')
  const sound = join(cwd, 'sound')
  await cp(data, sound, { recursive: true })
  let brought = 0
  for (let round = 0; round < 3; round++) {
    // a process that LevelDB ended takes no other round with it
    const { run, cwd: other } = await objtreeUser(t, { init: false })
    const copy = join(other, 'copy')
    await cp(sound, copy, { recursive: true })
    const table = await damage(copy, round)
    const refused = await run(['--db', copy, 'ls'])
    t.match(refused, { code: 1, stderr: new RegExp(table) })
    const listed = await run(['--db', copy, 'ls', '/shop', '--salvage']).catch(() => undefined)
    if (listed === undefined) continue
    t.notMatch(listed.stderr, /at .*\.[jt]s:/, 'no stack trace')
    const salvaged = await run(['--db', copy, 'salvage', 'new', '--json']).catch(() => undefined)
    if (salvaged === undefined) continue
    const { code, stdout, stderr } = salvaged
    t.equal(stderr, '')
    const result = JSON.parse(stdout) as { objects: number; lost: unknown[]; damage: string[] }
    t.same(result.damage, [table])
    t.equal(code, result.lost.length > 0 ? 1 : 0)
    brought += result.objects
    const sources = await run(['--db', 'new', 'verify'])
    t.equal(sources.code, 0, 'the new one is sound')
  }
  t.comment(`${brought} objects brought over`)
  await ok(['--db', sound, 'salvage', 'whole'])
  t.same((await json<{ children: object[] }>(['--db', 'whole', 'tree'])).children.length, before.children?.length)
  t.match(await json(['--db', 'whole', 'show', '/shop/page3']), { properties: { source: `${'text '.repeat(200)}3` } })
  await fails(['--db', sound, 'salvage', 'whole'], /not empty/)
  t.match(JSON.parse((await user.run(['--db', sound, 'salvage', 'part', '--skip', '/shop/page3', '--json'])).stdout), {
    objects: 12,
    lost: [{ path: '/shop/page3', reason: 'passed over' }],
  })
  await rm(sound, { recursive: true })
})
