/**
 * What an SMTP reply (or the lack of one) means: the one place that decides.
 *
 *     stage      reply        verdict            because
 *     connect…   anything     defer-server       no message was involved yet: down, refused, bad TLS, bad login
 *     any        421          defer-server       the server closes its service (RFC 5321 section 4.2.3)
 *     mail       530          defer-server       it wants TLS or a login first (RFC 4954 section 6)
 *     mail       5xx          fail-message       it will not have this sender's message
 *     rcpt       552          defer-recipient    too many recipients, from old servers (RFC 5321 section 4.5.3.1.10)
 *     rcpt       5xx, 4xx     fail-, defer-recipient
 *     data, dot  5xx          fail-message
 *     mail, data, dot  4xx    defer-message
 *     dot        2xx          sent
 *     dot        no reply     unknown            it may have taken the message; so it may if the reply is 3xx, which is none to a message
 *     other      no reply or nonsense            defer-message: this message may be what the server trips over
 *     local      'unfit'      fail-message       the server cannot take such a message (size, SMTPUTF8)
 *
 * Pure: no clock, no disk, no network.
 */

/** How far the dialogue had come. `body` is the message's transfer, `dot` all after it; `local` is on our side. */
export type Stage = 'connect' | 'greeting' | 'tls' | 'login' | 'mail' | 'rcpt' | 'data' | 'body' | 'dot' | 'local'

/** What happened at a stage: the server's reply, or the absence of a usable one. */
export interface Event {
  readonly stage: Stage
  /** The reply code, 200 to 599; undefined if there was no reply, or not one of SMTP. */
  readonly code: number | undefined
  /** The enhanced status code (RFC 3463), such as `5.1.1`. */
  readonly enhanced: string | undefined
  /** The reply's text, or what went wrong; one line, for people. */
  readonly text: string
  /** Only at the stage `local`: true if no later attempt at this server can succeed. */
  readonly unfit?: boolean
}

export type Verdict =
  | 'sent'
  | 'defer-recipient'
  | 'defer-message'
  | 'defer-server'
  | 'fail-recipient'
  | 'fail-message'
  | 'unknown'

export function verdictOf(event: Event): Verdict {
  const { stage, code } = event
  switch (stage) {
    case 'connect':
    case 'greeting':
    case 'tls':
    case 'login':
      return 'defer-server'
    case 'local':
      return event.unfit ? 'fail-message' : 'defer-message'
    case 'body':
      return code === 421 ? 'defer-server' : isClass(code, 5) ? 'fail-message' : 'defer-message'
    case 'dot':
      if (code === undefined || isClass(code, 3)) return 'unknown'
      if (isClass(code, 2)) return 'sent'
      return atMessage(code)
    case 'rcpt':
      if (code === 421) return 'defer-server'
      if (code === undefined) return 'defer-message'
      return isClass(code, 5) && code !== 552 ? 'fail-recipient' : 'defer-recipient'
    case 'mail':
      return code === 530 ? 'defer-server' : atMessage(code)
    case 'data':
      return atMessage(code)
  }
}

/** True if the server does its work, whatever it thinks of the message. */
export function isAnswer(end: Event): boolean {
  return end.code !== undefined && verdictOf(end) !== 'defer-server'
}

/**
 * True if a recipient was refused only because the transaction has too many of them: 452, or 552 of old servers
 * (RFC 5321 section 4.5.3.1.10); an enhanced status code that says something else counts for more.
 */
export function isTooMany({ stage, code, enhanced }: Event): boolean {
  return stage === 'rcpt' && (code === 452 || code === 552) && (enhanced === undefined || /^\d\.5\.3$/.test(enhanced))
}

/** What is the same of two replies that say the same: times and names of sessions, words with a digit, do not count. */
export function kindOf({ stage, code, enhanced, text }: Partial<Record<keyof Event, unknown>>): string {
  return [stage, code, enhanced, String(text).replace(/\S*\d\S*/g, '')].join(' ')
}

/**
 * Reads a reply: `550-5.1.1 No such\n550 5.1.1 user` gives 550, `5.1.1`, `No such user`.
 * @param reply the server's lines, or anything else that is to be shown
 */
export function parseReply(reply: string): Omit<Event, 'stage'> {
  const [, only, status, rest] = ONE_LINE.exec(reply) ?? []
  if (only !== undefined) return { code: Number(only), enhanced: status, text: rest?.trim().slice(0, MAX_TEXT) ?? '' }
  const lines = reply.split(/\r?\n/)
  const code = /^([2-5]\d\d)(?:[ -]|$)/.exec(lines.at(-1) ?? '')?.[1]
  const texts = lines.map(line => line.replace(/^\d{3}[ -]?/, ''))
  const enhanced = /^([245]\.\d{1,3}\.\d{1,3})(?: |$)/.exec(texts.at(-1) ?? '')?.[1]
  const text = texts.map(line => (enhanced && line.startsWith(enhanced) ? line.slice(enhanced.length) : line).trim())
  return {
    code: code === undefined ? undefined : Number(code),
    enhanced,
    text: (code === undefined ? lines : text).join(' ').trim().slice(0, MAX_TEXT),
  }
}

const MAX_TEXT = 500
/** The usual reply: code, enhanced status code, text. */
const ONE_LINE = /^([2-5]\d\d)(?:[ -]|$)(?:([245]\.\d{1,3}\.\d{1,3})(?: |$))?([^\n]*)$/

function atMessage(code: number | undefined): Verdict {
  if (code === 421) return 'defer-server'
  return isClass(code, 5) ? 'fail-message' : 'defer-message'
}

function isClass(code: number | undefined, first: number): boolean {
  return code !== undefined && Math.floor(code / 100) === first
}
