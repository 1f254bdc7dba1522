/**
 * A daemon in the foreground for tests, which can be made to die (SIGKILL) at a named step.
 *
 *     daemon-child.ts [STEP [COUNT]]     dies when STEP is passed for the COUNT-th time (default 1)
 *
 * TEST_TIMING in the environment is its timing (JSON, milliseconds); {} is the usual one.
 * TEST_USER is the number of the user that it becomes once it is loaded.
 */
import { subscribe } from 'node:diagnostics_channel'
import { loadConfig } from '../../maildrop/config.ts'
import { TIMING } from '../../maildrop/daemon/daemon.ts'
import { serve } from '../../maildrop/daemon/serve.ts'
import { DAEMON_CHANNEL, type StepMessage } from '../../maildrop/steps.ts'

const [step, count = '1'] = process.argv.slice(2)
let left = Number(count)
if (step !== undefined) {
  subscribe(DAEMON_CHANNEL, message => {
    if ((message as StepMessage<string>).step !== step) return
    left -= 1
    if (left === 0) process.kill(process.pid, 'SIGKILL')
  })
}
const user = Number(process.env.TEST_USER ?? 0)
if (user !== 0) {
  process.setgroups?.([])
  process.setgid?.(user)
  process.setuid?.(user)
}
const timing = { ...TIMING, ...JSON.parse(process.env.TEST_TIMING ?? '{}') }
await serve(loadConfig(), () => process.stdout.write('ready\n'), timing)
process.exit(0)
