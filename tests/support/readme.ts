/** The README's blocks, and a shell that runs its console sessions as they are printed. */
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'

export interface Block {
  readonly language: string
  /** What follows the language: the name of the file that the block is. */
  readonly file: string
  readonly content: string
}

/** The fenced blocks of a Markdown text, from a heading on to the next of its level. */
export function blocksOf(markdown: string, heading: string): Block[] {
  const from = markdown.indexOf(`\n${heading}\n`)
  if (from < 0) throw new Error(`no heading ${heading}`)
  const level = /^#+/.exec(heading)?.[0] ?? ''
  const rest = markdown.slice(from + heading.length + 2)
  const end = rest.search(new RegExp(`^${level} `, 'm'))
  return Array.from(
    rest.slice(0, end < 0 ? undefined : end).matchAll(/^```(\w*) ?(.*)\n([\s\S]*?)^```$/gm),
    ([, language = '', file = '', content = '']) => ({ language, file, content }),
  )
}

export interface Command {
  readonly command: string
  /** What the README says it prints; empty if it does not say. `…` stands for anything. */
  readonly expected: string
}

export function commandsOf(console: string): Command[] {
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

/** Runs commands one after the other in one shell, so that `cd` and `export` last. @returns what each printed, and its exit code */
export async function shell(
  cwd: string,
  commands: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ code: number; printed: string }[]> {
  const mark = `--${process.pid}-${Date.now()}--`
  const child = spawn('bash', { cwd, env: { PATH: process.env.PATH, ...env }, stdio: ['pipe', 'pipe', 'ignore'] })
  child.stdin.end(
    `exec 2>&1\nunset NODE_OPTIONS\n${commands.map(command => `${command}\necho "${mark}$?"\n`).join('')}`,
  )
  const parts = (await text(child.stdout)).split(new RegExp(`${mark}(\\d+)\n`))
  return commands.map((_, i) => ({ printed: parts[2 * i] ?? '', code: Number(parts[2 * i + 1] ?? -1) }))
}
