/** The package as its users get it. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { TOP } from './program.ts'

const run = promisify(execFile)

/** Packs the package into a directory. @returns the names of its files */
export async function pack(to: string): Promise<string[]> {
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', to], { cwd: TOP })
  const [packed] = JSON.parse(stdout) as { files: { path: string }[] }[]
  return packed!.files.map(({ path }) => path)
}
