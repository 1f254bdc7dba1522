/** A command line as a shell would split it, as far as the examples of the help need: quotes, and `< FILE`. */
export function wordsOf(line: string): { words: string[]; input: string | undefined } {
  const words = Array.from(line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g), ([word]) =>
    word.replace(/'([^']*)'|"([^"]*)"/g, (_, single?: string, double?: string) => single ?? double ?? ''),
  )
  const at = words.indexOf('<')
  return at < 0 ? { words, input: undefined } : { words: words.slice(0, at), input: words[at + 1] }
}
