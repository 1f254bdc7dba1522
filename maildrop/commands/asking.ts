/** Asking on the terminal, before what cannot be typed again is changed or deleted. */

/** @returns true for yes; anything else, the end of the input too, is no */
export async function confirmed(question = 'go on?'): Promise<boolean> {
  const { createInterface } = await import('node:readline/promises')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const ended = new Promise<string>(resolve => terminal.once('close', () => resolve('')))
    return /^y(es)?$/i.test((await Promise.race([terminal.question(`${question} [y/N] `), ended])).trim())
  } finally {
    terminal.close()
  }
}
