/** Runs command lines of objtree one after the other in one process, each as if it were a process of its own: see tests/support/objtree.ts. */
import { Readable } from 'node:stream'

export interface Request {
  readonly args: readonly string[]
  /** What standard input gives, base64. */
  readonly input: string
}

class Exit extends Error {}

let stdout = ''
let stderr = ''
const collect = (take: (text: string) => void) => (chunk: string | Uint8Array) => {
  take(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString())
  return true
}
process.stdout.write = collect(text => {
  stdout += text
}) as typeof process.stdout.write
process.stderr.write = collect(text => {
  stderr += text
}) as typeof process.stderr.write
process.exit = (code => {
  process.exitCode = code ?? 0
  throw new Exit()
}) as typeof process.exit

// yargs keeps the `process.exit` that it finds when it is loaded
const { objtree } = await import('../../bin/objtree.ts')

let queue = Promise.resolve()
process.on('message', (request: Request) => {
  queue = queue.then(() => serve(request))
})
process.send?.('ready')

async function serve({ args, input }: Request): Promise<void> {
  stdout = ''
  stderr = ''
  process.exitCode = 0
  Object.defineProperty(process, 'stdin', { value: Readable.from([Buffer.from(input, 'base64')]), configurable: true })
  try {
    await objtree(args)
  } catch (error) {
    if (!(error instanceof Exit)) {
      stderr += error instanceof Error ? error.stack : String(error)
      process.exitCode = 70
    }
  }
  // warnings come with the next turn
  await new Promise(setImmediate)
  process.stdout.removeAllListeners('error')
  process.send?.({ code: Number(process.exitCode ?? 0), stdout, stderr })
}
