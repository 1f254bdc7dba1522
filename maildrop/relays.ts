/**
 * Relays: SMTP servers besides the usual one, to which mail goes that asks for them (MAILDROP_RELAYS).
 *
 * Each has a spool of its own, `.relays/<host>:<port>` in the first spool, so that where a mail goes is decided by where it lies, and by
 * nothing that stands in it; and so that each has connections, retries and a circuit breaker of its own. Only those that
 * whoever runs the daemon has listed are served, and none is ever logged in to: the login is that of the usual server.
 */
import { readdirSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import { relaysDir } from './spool/layout.ts'

export interface RelayName {
  readonly host: string
  readonly port: number
}

export interface Relay extends RelayName {
  /** Absolute path of its spool. */
  readonly spool: string
}

const HOST = /^(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?$/
/** The last label of what resolvers take for an address, or a part of one: `25`, `10.0.0.300`, `0x7f`. No name ends so (RFC 3696 section 2). */
const NUMBER = /(^|\.)(\d+|0x[\da-f]*)\.?$/i
const MAX_HOST = 253

export function isHost(text: string): boolean {
  return isIP(text) !== 0 || (text.length <= MAX_HOST && HOST.test(text) && !NUMBER.test(text))
}

/** A name that is no address. */
export const isDomain = (text: string): boolean => isIP(text) === 0 && isHost(text)

/**
 * Reads `host`, `host:port`, `[IPv6]:port`; the port is 25 if it is left out.
 * @returns undefined if that is none
 */
export function parseRelay(text: string): RelayName | undefined {
  if (isIP(text) === 6) return { host: text.toLowerCase(), port: 25 }
  const [, address, name, digits = '25'] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = (address ?? name ?? '').toLowerCase()
  const port = Number(digits)
  const isName = address === undefined ? isIP(host) !== 6 && isHost(host) : isIP(host) === 6
  return isName && port >= 1 && port <= 65_535 ? { host, port } : undefined
}

/** `host:port`, with brackets around an IPv6 address. */
export function relayText({ host, port }: RelayName): string {
  return `${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}

/** @param spool the first spool */
export function relayIn(spool: string, { host, port }: RelayName): Relay {
  return { host, port, spool: join(relaysDir(spool), relayText({ host, port })) }
}

/** One line for each relay that is not listed any more and still has mail. */
export function forgottenRelays(spool: string, relays: readonly Relay[]): string[] {
  const known = new Set(relays.map(relayText))
  return namesIn(relaysDir(spool))
    .filter(name => !known.has(name) && hasFiles(join(relaysDir(spool), name)))
    .map(name => {
      const path = join(relaysDir(spool), name)
      return `${path} has mail, but MAILDROP_RELAYS does not name ${name}: nothing delivers it; add the relay, or move the mail to ${spool}`
    })
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch {
    return []
  }
}

function hasFiles(directory: string): boolean {
  try {
    return readdirSync(directory, { recursive: true, withFileTypes: true }).some(entry => entry.isFile())
  } catch {
    return false
  }
}
