/**
 * Runs configtest as another user, who need not be able to read the program.
 *
 *     configtest-as.ts USER
 */
import { configtest } from '../../maildrop/commands/configtest.ts'
import { loadConfig } from '../../maildrop/config.ts'

const user = Number(process.argv[2])
const config = loadConfig()
process.setgroups?.([])
process.setgid?.(user)
process.setuid?.(user)
await configtest(() => config, { config: undefined, json: false })
