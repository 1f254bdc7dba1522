/**
 * What the log says: every event and every field, as data. The names are stable; documentation and types follow these tables.
 */

/** The verdict about one recipient in one attempt is an event of its own; see `delivery/outcome.ts`. */
export const LOG_EVENTS = {
  sent: 'The server has taken the message for this recipient.',
  'defer-recipient': 'This recipient is tried again later.',
  'defer-message': 'The message is tried again later.',
  'defer-server': 'The server cannot be used at the moment.',
  'fail-recipient': 'This recipient was refused for good.',
  'fail-message': 'The message was refused for good.',
  unknown: 'The connection (or the daemon) broke off after the final dot: the server may have taken the message.',
  expired: 'It would be tried again later, but the message is too old.',
  notice: 'The sender is told, by a message of its own, who could not be reached.',
  'notice-failed': 'The sender could not be told that somebody could not be reached; tried again with the message.',
  hook: 'MAILDROP_ON_FAILURE was told of a failure.',
  'hook-failed': 'MAILDROP_ON_FAILURE could not be told; tried again later.',
  unfit: 'The file cannot become mail, and was moved to failed.',
  named: 'A dropped file was given an id.',
  held: 'The message was put on hold, for this reason.',
  'run-begin': 'There is something to do.',
  'run-end': 'Nothing is left to do; with the numbers of messages since run-begin.',
  connected: 'A connection to the server is ready to send.',
  'server-down':
    'The server cannot be used; nothing is sent until it can. Said once, and again when something else is the reason.',
  'server-up': 'The server can be used again.',
  start: 'The daemon delivers from now on.',
  stopping: 'The daemon finishes what it has begun.',
  stop: 'The daemon has ended.',
  reloaded: 'The daemon goes on with the configuration as it is now.',
  'reload-refused': 'The configuration as it is now cannot be used; the daemon keeps the one it has.',
  flush: 'What was deferred was made due.',
  'control-failed': 'There is no control socket: the daemon delivers, but maildropctl cannot ask it.',
  'notify-failed': 'systemd cannot be told how the daemon is.',
  'metrics-failed': 'The numbers for MAILDROP_METRICS cannot be told; tried again.',
  stall: 'Mail is due and nothing has come of any for MAILDROP_STALL_ALARM; text says what is known to be wrong.',
  'stall-end': 'Something moves again, or nothing is due any more.',
  died: 'The daemon was ended by an error nobody foresaw.',
  'rate-failed': 'What MAILDROP_RATE counts cannot be written down, so that a restart would forget it.',
  warning: 'Something in the configuration should be looked at.',
  trouble: 'A spool cannot be used.',
  'scan-failed': 'A spool cannot be read.',
  stuck:
    'A file can be neither read nor moved (a bad block, an owner of its own in a sticky directory); it stays, and is looked at again with every scan.',
  locked:
    'A .lck has stood beside a file for an hour; the file is sent when it is removed, which is left to its writer or to you.',
  open: 'A process has held a file open for writing for a minute without writing; the file is sent when it is closed.',
  'watch-failed': 'New mail is not noticed at once, but by the scan after every MAILDROP_INTERVAL.',
  'record-failed': 'What became of a message cannot be written down; it is held and tried again every second.',
  'worker-failed': 'A connection was given up because of an error of our own.',
  'taken-back':
    'Messages of a daemon that died, or showed no sign of life for the length of its lease, were taken back.',
  'claims-lost':
    'What this daemon had claimed is gone: it stood still for longer than its lease and another one took it back, or the spool was removed.',
  'take-back-failed': 'A message of another daemon cannot be taken back yet.',
} as const satisfies Record<string, string>

export type LogEvent = keyof typeof LOG_EVENTS

const VERDICTS = new Set<LogEvent>([
  'sent',
  'defer-recipient',
  'defer-message',
  'defer-server',
  'fail-recipient',
  'fail-message',
  'unknown',
  'expired',
])

/** True if the event is a verdict about one recipient. */
export function isVerdict(event: LogEvent): boolean {
  return VERDICTS.has(event)
}

export const LOG_FIELDS = {
  id: 'Id of the message, its name in the spool.',
  message_id: 'The Message-ID header of the message, where it has one.',
  to: 'Recipient.',
  receiver: 'DEBUG_RECEIVER, where the message went to it instead.',
  from: 'Sender; empty for the null sender.',
  relay: 'The server, host:port; capture where MAILDROP_CAPTURE takes the mail.',
  stage:
    'How far the dialogue had come: connect, greeting, tls, login, mail, rcpt, data, body, dot; local is on our side.',
  code: 'Reply code of the server.',
  enhanced: 'Enhanced status code (RFC 3463).',
  text: 'Text of the reply, or what went wrong.',
  attempt: 'Number of the attempt, from 1.',
  delay: 'Seconds since the message arrived in the spool: the sum of the next three.',
  in_spool: 'Seconds that it waited.',
  connect: 'Seconds that opening the connection took; 0 on one that was open.',
  transfer:
    'Seconds from MAIL (or, if that went out with the message before, from the reply to that one) to the last reply.',
  name: 'Name of a file as it was dropped.',
  protection: 'Version of TLS, or plain; the mailbox where MAILDROP_CAPTURE takes the mail.',
  login: 'User name at the server.',
  after: 'Seconds for which the server could not be used, or nothing had moved.',
  pid: 'Process id.',
  waiting: 'Messages known to wait.',
  sent: 'Messages sent in this run.',
  deferred: 'Messages deferred in this run.',
  failed: 'Messages given up in this run.',
  ms: 'Length of the run in milliseconds.',
  spool: 'Spool directory.',
  directory: 'Directory in it that could not be watched.',
  config: 'Configuration file.',
  owner: 'The daemon that had claimed the messages: pid, start time, boot, namespace and host.',
  messages: 'Number of messages.',
} as const satisfies Record<string, string>

export type LogField = keyof typeof LOG_FIELDS
