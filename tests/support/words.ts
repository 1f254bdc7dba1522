/** A command line as a shell would split it, as far as the examples of the help need: quotes, `< FILE`, and `> FILE`, which is left out. */
export function wordsOf(line: string): { words: string[]; input: string | undefined } {
  const words = Array.from(line.matchAll(/(?:'[^']*'|"[^"]*"|[^\s'"])+/g), ([word]) =>
    word.replace(/'([^']*)'|"([^"]*)"/g, (_, single?: string, double?: string) => single ?? double ?? ''),
  )
  const at = words.findIndex(word => word === '<' || word === '>')
  if (at < 0) return { words, input: undefined }
  return { words: words.slice(0, at), input: words[at] === '<' ? words[at + 1] : undefined }
}
