/**
 * Tests that need a program that is not ours, such as Postfix. A peer that is missing is said in the test's result; with
 * MAILDROP_REQUIRE_PEERS=1, as in .ci/run, the test runs all the same and fails.
 */
import { spawnSync } from 'node:child_process'

/** Why a program cannot be used: one that has `--version`. */
export function programProblem(name: string): string | undefined {
  return spawnSync(name, ['--version']).error === undefined ? undefined : `${name} is not there`
}

/** Options for a test. @param problem why the peer cannot be used, if so */
export function needs(problem: string | undefined): { skip: string | false } {
  return { skip: process.env.MAILDROP_REQUIRE_PEERS === '1' ? false : (problem ?? false) }
}
