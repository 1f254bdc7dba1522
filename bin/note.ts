/** The command line as the note of a transaction: as it could be typed again, and not longer than a note should be. */
import { quoted } from '../administration/quoted.ts'

const MOST = 500

export function noteOf(words: readonly string[]): string {
  const line = words.map(quoted).join(' ')
  return line.length <= MOST ? line : `${line.slice(0, MOST - 1).toWellFormed()}…`
}
