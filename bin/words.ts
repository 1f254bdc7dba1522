/** The words of a command line, as a shell quotes them. */

export interface Line {
  /** What the words mean, without their quotes. */
  readonly words: readonly string[]
  /** The last one as it stands there. */
  readonly raw: string
  /** The quote that is still open and that it stands in; empty if there is none. */
  readonly quote: string
}

/** @param line up to the cursor: after a blank the last word is an empty one */
export function lastWord(line: string): Line {
  const words: string[] = []
  let word = ''
  let start = 0
  let quote = ''
  for (let i = 0; i < line.length; i++) {
    const each = line[i]!
    if (each === '\\' && quote !== "'") word += line[++i] ?? ''
    else if (quote !== '' ? each === quote : /['"]/.test(each)) quote = quote === '' ? each : ''
    else if (quote === '' && /\s/.test(each)) {
      if (start < i) words.push(word)
      word = ''
      start = i + 1
    } else word += each
  }
  words.push(word)
  return { words, raw: line.slice(start), quote }
}

/**
 * A word as it can stand on a command line, so that a shell runs nothing of it.
 * @param quote that is open before it
 * @returns undefined if it cannot stand there
 */
export function escaped(word: string, quote = ''): string | undefined {
  if (quote === "'") return word.includes("'") ? undefined : word
  // in double quotes nothing takes the meaning of a ! without being seen
  if (quote === '"') return word.includes('!') ? undefined : word.replace(/["$`\\]/g, '\\$&')
  return word.replace(/[^\w@%+=:,./~-]/gu, '\\$&')
}
