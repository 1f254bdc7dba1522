/**
 * What other parts of the project use of the maildrop: the configuration, the writing side of the spool, and what is in it.
 */
export { COMPOSE_ERROR_CODES, ComposeError, type ComposeErrorCode } from './compose/errors.ts'
export { loadConfig, type MaildropConfig, type SmtpConfig } from './config.ts'
export { deliverNow } from './deliver-now.ts'
export { MAILDROP_ERROR_CODES, MaildropError, type MaildropErrorCode } from './errors.ts'
export { CONFIG_KEYS, type ConfigKey, type ConfigKeyName, shownValue } from './keys.ts'
export { readLogTail } from './log-tail.ts'
export { type Relay, type RelayName, relayText } from './relays.ts'
export { addressProblem, checkAddress } from './spool/address.ts'
export { type Envelope, formatMailFile, type MailHead, parseMailFile, parseMailHead } from './spool/format.ts'
export { checkMailId, newMailId } from './spool/id.ts'
export { ensureSpool, isSpool } from './spool/layout.ts'
export { findById, listSpool, type QueuedMail } from './spool/listing.ts'
export { discardHeld, listHeld, releaseHeld, submit, syncHeld, syncSpool, writeHeld } from './spool/write.ts'
export { DAEMON_CHANNEL, type DaemonStep, SPOOL_CHANNEL, type SpoolStep, type StepMessage } from './steps.ts'
