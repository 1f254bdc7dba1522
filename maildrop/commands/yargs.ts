/** yargs as one file, which takes two thirds of the time of its modules. */
import { createRequire } from 'node:module'
import type Yargs from 'yargs'

export const yargs = createRequire(import.meta.url)('yargs/yargs') as typeof Yargs
