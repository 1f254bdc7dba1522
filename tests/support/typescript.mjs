/**
 * Lets Node run the sources as they are: `node --import=./tests/support/typescript.mjs FILE.ts`. The hook itself is in
 * typescript-hooks.mjs.
 *
 * What a test starts is a program as users run it, and no test: the hooks that the test runner puts into the environment of
 * every child, which cost each half a second, are taken out.
 */
import { register } from 'node:module'

register('./typescript-hooks.mjs', import.meta.url)

delete process.env.NODE_OPTIONS
globalThis[Symbol.for('process-on-spawn@*:singletonId')]?.listeners.splice(0)
