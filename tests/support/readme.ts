/** The blocks of a page, and a shell that follows it: files are written, console sessions run as they are printed. */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

export interface Block {
  readonly language: string
  /** What follows the language: the name of the file that the block is. */
  readonly file: string
  readonly content: string
}

/** The fenced blocks of a Markdown text, from a heading on to the next of its level. */
export function blocksOf(markdown: string, heading: string): Block[] {
  const page = `\n${markdown}`
  const from = page.indexOf(`\n${heading}\n`)
  if (from < 0) throw new Error(`no heading ${heading}`)
  const level = /^#+/.exec(heading)?.[0] ?? ''
  const rest = page.slice(from + heading.length + 2)
  const end = rest.search(new RegExp(`^${level} `, 'm'))
  return Array.from(
    rest.slice(0, end < 0 ? undefined : end).matchAll(/^```(\w*) ?(.*)\n([\s\S]*?)^```$/gm),
    ([, language = '', file = '', content = '']) => ({ language, file, content }),
  )
}

export interface Command {
  readonly command: string
  /** What the page says it prints; empty if it does not say. `…` stands for anything. */
  readonly expected: string
}

function commandsOf(console: string): Command[] {
  return console
    .split(/^\$ /m)
    .slice(1)
    .map(each => {
      const end = each.indexOf('\n')
      return { command: each.slice(0, end), expected: each.slice(end + 1) }
    })
}

/** Whether that was printed; `…` in the expectation stands for anything. */
export function agrees(expected: string, printed: string): boolean {
  const pattern = expected
    .trimEnd()
    .split('…')
    .map(part => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^]*')
  return expected === '' || new RegExp(`^${pattern}$`).test(printed.replaceAll('\r\n', '\n').trimEnd())
}

/** Does what the blocks say, in their order, in one shell, and checks that each command succeeds and prints what stands there. */
export async function follow(t: Test, cwd: string, blocks: readonly Block[], env: Readonly<Record<string, string>>) {
  const commands = blocks.flatMap(({ language, file, content }): Command[] => {
    if (language === 'console') return commandsOf(content)
    return file === '' ? [] : [{ command: `cat > ${file} <<'END OF BLOCK'\n${content}END OF BLOCK`, expected: '' }]
  })
  const outcomes = await shell(
    cwd,
    commands.map(({ command }) => command),
    env,
  )
  for (const [i, { command, expected }] of commands.entries()) {
    const { code, printed } = outcomes[i]!
    // What comes after a command that failed would only fail because of it.
    if (!t.equal(code, 0, `${command}: ${printed}`)) return
    t.ok(agrees(expected, printed), `${command}\nexpected ${expected}\nprinted ${printed}`)
  }
}

/** Runs commands one after the other in one shell, so that `cd` and `export` last. @returns what each printed, and its exit code */
export async function shell(
  cwd: string,
  commands: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ code: number; printed: string }[]> {
  const mark = `--${process.pid}-${Date.now()}--`
  const child = spawn('bash', { cwd, env: { PATH: process.env.PATH, ...env }, stdio: ['pipe', 'pipe', 'ignore'] })
  child.stdin.end(`exec 2>&1\n${commands.map(command => `${command}\necho "${mark}$?"\n`).join('')}`)
  const parts = (await text(child.stdout)).split(new RegExp(`${mark}(\\d+)\n`))
  return commands.map((_, i) => ({ printed: parts[2 * i] ?? '', code: Number(parts[2 * i + 1] ?? -1) }))
}
