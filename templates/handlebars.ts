/** Handlebars, loaded when the first template is parsed: most commands, and many programs, parse none. */
import { createRequire } from 'node:module'
import type Handlebars from 'handlebars'

const require = createRequire(import.meta.url)
let loaded: typeof Handlebars | undefined

export function handlebars(): typeof Handlebars {
  loaded ??= require('handlebars') as typeof Handlebars
  return loaded
}
