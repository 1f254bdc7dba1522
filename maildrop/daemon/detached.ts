/**
 * The entry of a detached daemon process, and its one word to the process that started it: ready, or why not.
 */
import { fileURLToPath } from 'node:url'
import { loadConfig } from '../config.ts'
import { messageOf } from '../errors.ts'
import { serve } from './serve.ts'

/** The file to run as a process of its own, with the path of the configuration file as argument. */
export const DETACHED_ENTRY = fileURLToPath(import.meta.url)

export type StartReport = { readonly ready: true } | { readonly ready: false; readonly problem: string }

if (process.argv[1] === DETACHED_ENTRY) await main(process.argv[2])

async function main(file: string | undefined): Promise<void> {
  process.stderr.on('error', () => undefined)
  try {
    const config = loadConfig({ file })
    process.chdir('/')
    await serve(config, () => report({ ready: true }))
    process.exit(0)
  } catch (error) {
    report({ ready: false, problem: messageOf(error) })
    process.exit(1)
  }
}

function report(what: StartReport): void {
  if (!process.connected) return
  process.send?.(what)
  process.disconnect()
}
