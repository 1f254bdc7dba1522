/** docs/tutorial.md, followed word for word: in a clean directory, with the packed package. */
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { freePort } from '../support/ports.ts'
import { directory, program, TOP } from '../support/program.ts'
import { blocksOf, follow } from '../support/readme.ts'

const HEADING = '# Tutorial: a shop that mails its customers'

t.test('the tutorial does what it says', async t => {
  const home = await directory(t, 'tutorial-')
  await promisify(execFile)('npm', ['pack', '--ignore-scripts', '--pack-destination', home], { cwd: TOP })
  const page = (await readFile(join(TOP, 'docs/tutorial.md'), 'utf8')).replaceAll('8080', String(await freePort()))
  t.teardown(() => program(join(home, 'shop'), 'npx', ['stop_maildrop']))
  const blocks = blocksOf(page, HEADING)
  t.ok(blocks.length > 15, 'its blocks were found')
  await follow(t, home, blocks, { HOME: process.env.HOME ?? home, NPM_CONFIG_LOGLEVEL: 'error' })
})
