/**
 * The entry of a detached daemon process, and its one word to the process that started it: ready, or why not.
 *
 * A file that knows where it is, also when the others have been bundled: so it has to be imported by `import()` alone, and stays by itself.
 */
import { fileURLToPath } from 'node:url'
import { explained } from '../errors.ts'

/** The file to run as a process of its own, with the path of the configuration file as argument. */
export const DETACHED_ENTRY = fileURLToPath(import.meta.url)

export type StartReport = { readonly ready: true } | { readonly ready: false; readonly problem: string }

if (process.argv[1] === DETACHED_ENTRY) await main(process.argv[2])

async function main(file: string | undefined): Promise<void> {
  process.stderr.on('error', () => undefined)
  try {
    const [{ loadConfig }, { serve }] = await Promise.all([import('../config.ts'), import('./serve.ts')])
    const config = loadConfig({ file })
    process.chdir('/')
    await serve(config, () => report({ ready: true }))
    process.exit(0)
  } catch (error) {
    await report({ ready: false, problem: explained(error) })
    process.exit(1)
  }
}

/** Resolves when it has been said; nobody may be there to hear it. */
async function report(what: StartReport): Promise<void> {
  if (!process.connected) return
  await new Promise<void>(resolve => process.send?.(what, undefined, undefined, () => resolve()))
  if (process.connected) process.disconnect()
}
