/** The command lines of docs/howto.md: commands, options and the number of words are those of the commands. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import yargs from 'yargs'
import { isCommand, loadCommand } from '../../administration/commands/index.ts'
import { COMMON, declare, optionOptions, usageOf } from '../../bin/usage.ts'
import { CONFIG_KEYS } from '../../maildrop/keys.ts'
import { TOP } from '../support/program.ts'
import { wordsOf } from '../support/words.ts'

const PAGE = readFileSync(join(TOP, 'docs/howto.md'), 'utf8')
const lines = Array.from(
  PAGE.matchAll(/(?:^\$ |`|npx )objtree ([^\n`|]*?)(?:`| \| |'$|$)/gm),
  ([, line]) => line as string,
)

t.test('every command line of objtree in the guides is one that it takes', async t => {
  t.ok(lines.length > 20, 'they were found')
  for (const line of lines) {
    const { words } = wordsOf(line.replaceAll(/"?\$\([^)]*\)"?/g, '2026-01-01').replace(' …', ' /x'))
    const name = words.find((word, i) => !word.startsWith('-') && words[i - 1] !== '--db')
    if (name === undefined || !isCommand(name)) {
      t.fail(`objtree ${line}`)
      continue
    }
    // where the text speaks of a command, it need not say all of it
    const command = await loadCommand(name)
    const complete = PAGE.includes(`$ objtree ${line}`)
    const parser = yargs(words).options(
      Object.fromEntries(Object.entries(COMMON).map(([option, spec]) => [option, optionOptions(spec)])),
    )
    const problems: string[] = []
    parser
      .command(complete ? usageOf(name, command) : `${name} [a] [b] [c..]`, '', argv =>
        declare(argv, complete ? command : { ...command, positionals: [] }),
      )
      .strict()
      .exitProcess(false)
      .fail(message => void problems.push(message))
    await parser.parseAsync()
    t.same(problems, [], `objtree ${line}`)
  }
})

t.test('every key of the configuration in the guides is one', async t => {
  const keys = new Set(Array.from(PAGE.matchAll(/\b(MAILDROP_[A-Z_]+|DEBUG_RECEIVER)\b/g), ([key]) => key))
  t.ok(keys.size > 4)
  const own = ['MAILDROP_CONFIG', 'MAILDROP_CONFIGS']
  for (const key of keys) t.ok(key in CONFIG_KEYS || own.includes(key), key)
})
