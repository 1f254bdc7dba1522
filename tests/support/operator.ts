/**
 * A process for crash tests: does one operation to one message and kills itself at a step.
 *
 *     operator.ts OPERATION SPOOL ID [STEP]
 */
import { subscribe } from 'node:diagnostics_channel'
import { findMail } from '../../maildrop/spool/listing.ts'
import { type Operation, operate } from '../../maildrop/spool/operations.ts'
import { DAEMON_CHANNEL, type StepMessage } from '../../maildrop/steps.ts'

const [operation, spool, id, step] = process.argv.slice(2) as [Operation, string, string, string | undefined]
subscribe(DAEMON_CHANNEL, message => {
  if ((message as StepMessage<string>).step === step) process.kill(process.pid, 'SIGKILL')
})
await operate(operation, await findMail([spool], id))
