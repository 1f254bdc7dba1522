/** Every link of the documentation leads somewhere: to a file of the package, and to a heading in it. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { TOP } from '../support/program.ts'

const PAGES = [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  ...readdirSync(join(TOP, 'docs')).map(name => `docs/${name}`),
]

const textOf = (page: string): string => readFileSync(join(TOP, page), 'utf8').replace(/^```[\s\S]*?^```$/gm, '')

/** The anchors of a page's headings, as they are made from their text. */
const anchorsOf = (page: string): string[] =>
  Array.from(textOf(page).matchAll(/^#{1,6} (.*)$/gm), ([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )

let links = 0
for (const page of PAGES)
  t.test(page, async t => {
    for (const [, target = ''] of textOf(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue
      links += 1
      const [path = '', anchor] = target.split('#')
      const file = path === '' ? page : relative(TOP, join(TOP, dirname(page), path))
      t.ok(existsSync(join(TOP, file)), `${target} exists`)
      if (anchor !== undefined && file.endsWith('.md')) t.ok(anchorsOf(file).includes(anchor), `${target} is a heading`)
    }
  })

t.test('there are links', async t => {
  t.ok(links > 10, `${links} were found`)
})
