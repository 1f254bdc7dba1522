/**
 * What is in a spool: every message with its state, the same whether or not a daemon runs.
 */
import { closeSync, lstatSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { MaildropError, messageOf, spoolError, systemCode } from '../errors.ts'
import { listClaims } from './claim.ts'
import { inspect } from './inspect.ts'
import { canBeMail, deferredDir, failedDir, holdDir, parseDeferredName } from './layout.ts'
import { type MailState, newState, readState, readStateFile } from './state.ts'

/** In the order in which they are listed. */
export const MAIL_STATES = ['active', 'waiting', 'scheduled', 'deferred', 'held', 'failed'] as const

export interface QueuedMail {
  readonly spool: string
  readonly id: string
  readonly status: (typeof MAIL_STATES)[number]
  readonly path: string
  /** Bytes of the mail file. */
  readonly size: number
  /** When it was dropped, ISO 8601. */
  readonly arrived: string
  readonly attempts: number
  /** When it is tried again, ISO 8601; only if deferred or scheduled. */
  readonly next: string | undefined
  /** Undefined if the file is not (yet) mail. */
  readonly from: string | undefined
  readonly recipients: MailState['recipients']
  /** Why the file as a whole was given up, was put on hold by the daemon, or is not mail yet. */
  readonly problem: string | undefined
}

/** What a message's place alone tells, without opening any file. */
export interface MailPlace {
  readonly status: QueuedMail['status']
  readonly directory: string
  readonly name: string
  readonly id: string
  readonly due?: number
}

/** Times a spool is read again because a message moved on meanwhile. */
const ROUNDS = 3

/**
 * Lists a spool one message after the other, by state and age; memory holds names only. A message that moves on while it is
 * read is listed as it was, none twice. None if there is no spool yet.
 * @param wanted messages that it refuses are not looked at
 */
export async function* walkSpool(
  spool: string,
  wanted: (place: MailPlace) => boolean = () => true,
): AsyncGenerator<QueuedMail> {
  const seen = new Set<string>()
  for (let round = 0, again = true; again && round < ROUNDS; round++) {
    again = false
    const all = [...places(spool)].sort(([, a], [, b]) => MAIL_STATES.indexOf(a.status) - MAIL_STATES.indexOf(b.status))
    for (const [key, place] of all) {
      // A message that has been listed may have failed since, which is another key.
      if (seen.has(key) || (round > 0 && seen.has(place.id)) || !wanted(place)) continue
      const mail = await describe(spool, place)
      if (mail === undefined) {
        again = true
        continue
      }
      seen.add(key)
      yield mail
    }
  }
}

/** All of it at once. */
export async function listSpool(spool: string): Promise<QueuedMail[]> {
  const mails: QueuedMail[] = []
  for await (const mail of walkSpool(spool)) mails.push(mail)
  return mails
}

/**
 * Finds one message.
 * @param text its id, or the beginning of it, or the path of its file, which tells files of one name in several places apart
 * @throws {MaildropError} MAIL_NOT_FOUND, AMBIGUOUS_ID; MAIL_BUSY if it moves on meanwhile
 */
export async function findMail(spools: readonly string[], text: string): Promise<QueuedMail> {
  const [found] = await findMails(spools, [text])
  if (found === undefined || found instanceof MaildropError) throw found ?? notFound(spools, text)
  return found
}

/** Finds messages, each named as for findMail; in the place of one that is not found stands the error. */
export async function findMails(
  spools: readonly string[],
  texts: readonly string[],
): Promise<(QueuedMail | MaildropError)[]> {
  const all = spools.flatMap(spool => placesOf(spool).map(place => ({ spool, place })))
  const byId = new Map<string, typeof all>()
  for (const found of all) byId.set(found.place.id, [...(byId.get(found.place.id) ?? []), found])
  const results: (QueuedMail | MaildropError)[] = []
  for (const text of texts) {
    const found = byId.get(text) ?? all.filter(({ place }) => isCalled(place, text))
    const [only] = found
    if (only === undefined) results.push(notFound(spools, text))
    else if (found.length > 1) results.push(ambiguous(text, found))
    else {
      const busy = new MaildropError('MAIL_BUSY', `message ${JSON.stringify(text)} has just moved on; look again`)
      results.push((await describe(only.spool, only.place)) ?? busy)
    }
  }
  return results
}

/** Longest name of a file; what is longer is no id. */
const MAX_SHOWN = 255

function notFound(spools: readonly string[], text: string): MaildropError {
  const shown = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text
  return new MaildropError(
    'MAIL_NOT_FOUND',
    `message ${JSON.stringify(shown)} is not in ${spools.join(', ')}; maildropctl queue lists ids`,
  )
}

/** No id has a slash in it. */
function isCalled({ directory, name, id }: MailPlace, text: string): boolean {
  return text.includes('/') ? resolve(text) === resolve(directory, name) : text !== '' && id.startsWith(text)
}

function ambiguous(text: string, found: readonly { readonly place: MailPlace }[]): MaildropError {
  const isSame = new Set(found.map(({ place }) => place.id)).size < found.length
  const called = ({ place: { id, directory, name } }: (typeof found)[number]) => (isSame ? join(directory, name) : id)
  const ids = found.slice(0, 5).map(each => `${called(each)} (${each.place.status})`)
  const more = found.length > ids.length ? ` and ${found.length - ids.length} more` : ''
  return new MaildropError(
    'AMBIGUOUS_ID',
    `${found.length} messages are called ${JSON.stringify(text)} or begin so: ${ids.join(', ')}${more}; ${isSame ? 'give the path of one in the place of its id' : 'write more of the id'}`,
  )
}

/** The newest message whose id is wanted, undefined if there is none. Names are read, and one file. */
export async function findById(
  spools: readonly string[],
  isWanted: (id: string) => boolean,
): Promise<QueuedMail | undefined> {
  for (let round = 0; round < ROUNDS; round++) {
    const found = spools
      .flatMap(spool => placesOf(spool).map(place => ({ spool, place })))
      .filter(({ place }) => isWanted(place.id))
      .sort((a, b) => (a.place.id < b.place.id ? 1 : -1))
    const [newest] = found
    if (newest === undefined) return undefined
    const mail = await describe(newest.spool, newest.place)
    if (mail !== undefined) return mail
  }
  return undefined
}

/** Numbers of messages by state, without opening any: one that no daemon has seen yet counts as waiting. */
export function countSpools(spools: readonly string[]): Record<QueuedMail['status'], number> {
  const counts = { waiting: 0, scheduled: 0, active: 0, deferred: 0, held: 0, failed: 0 }
  for (const spool of spools) for (const { status } of placesOf(spool)) counts[status] += 1
  return counts
}

function placesOf(spool: string): MailPlace[] {
  return [...places(spool).values()]
}

/** Where each message is, read in the order in which messages move, so that none is missed. */
function places(spool: string): Map<string, MailPlace> {
  const found = new Map<string, MailPlace>()
  for (const place of heldPlaces(spool)) found.set(place.id, place)
  for (const name of names(spool).filter(canBeMail))
    found.set(name, { status: 'waiting', directory: spool, name, id: name })
  for (const place of deferredPlaces(spool)) found.set(place.id, place)
  for (const claimed of listClaims(spool)) found.set(claimed.id, { status: 'active', ...claimed })
  for (const place of [...deferredPlaces(spool), ...heldPlaces(spool)]) found.set(place.id, place)
  for (const name of names(failedDir(spool), true)) {
    const isReason = name.endsWith('.json')
    if (!isReason) found.set(`failed/${name}`, { status: 'failed', directory: failedDir(spool), name, id: name })
  }
  return found
}

function deferredPlaces(spool: string): MailPlace[] {
  return names(deferredDir(spool)).flatMap(name => {
    const deferred = parseDeferredName(name)
    if (deferred === undefined) return []
    const { id, due, scheduled } = deferred
    return [{ status: scheduled ? 'scheduled' : 'deferred', directory: deferredDir(spool), name, id, due } as const]
  })
}

function heldPlaces(spool: string): MailPlace[] {
  return names(holdDir(spool)).map(name => ({ status: 'held', directory: holdDir(spool), name, id: name }))
}

async function describe(
  spool: string,
  { status, directory, name, id, due }: MailPlace,
): Promise<QueuedMail | undefined> {
  const path = join(directory, name)
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined || (stat.isDirectory() && status !== 'failed')) return undefined
  const known = await knownState(spool, status === 'failed' ? `${path}.json` : undefined, id).catch(messageOf)
  const read = typeof known === 'object' ? { state: known } : readMail(directory, name, id)
  const { state } = read
  const wanted = 'notBefore' in read && status === 'waiting' ? read.notBefore : undefined
  const time = wanted !== undefined && wanted > Date.now() ? wanted : due
  const damage = typeof known === 'string' ? known : undefined
  // Its last rename was that which put it on hold.
  const isOnlyHeld = status === 'held' && typeof known !== 'object'
  return {
    spool,
    id,
    status: time === due ? status : 'scheduled',
    path,
    size: stat.size,
    arrived: (isOnlyHeld ? undefined : state?.arrived) ?? stat.mtime.toISOString(),
    attempts: state?.attempts ?? 0,
    next: time === undefined ? undefined : new Date(time).toISOString(),
    from: state?.from,
    recipients: state?.recipients ?? [],
    problem: damage ?? state?.problem ?? (status === 'held' ? state?.held : undefined) ?? read.problem,
  }
}

/** The reason beside a failed message, or what is still among the states. */
async function knownState(spool: string, reason: string | undefined, id: string): Promise<MailState | undefined> {
  return (reason === undefined ? undefined : await readStateFile(reason)) ?? (await readState(spool, id))
}

function readMail(
  directory: string,
  name: string,
  id: string,
): {
  state?: MailState
  notBefore?: number | undefined
  problem?: string
} {
  const found = inspect(directory, name, true)
  switch (found.kind) {
    case 'ready':
      closeSync(found.mail.fd)
      return { state: newState({ ...found.mail, notBefore: undefined, id }), notBefore: found.mail.notBefore }
    case 'locked':
      return { problem: `${name}.lck stands beside it` }
    case 'unsettled':
      return { problem: found.problem ?? 'it is still being written' }
    case 'unfit':
    case 'stuck':
      return { problem: found.problem }
    case 'nothing':
      return {}
  }
}

/** @param all whether directories are among them, which are put aside like other files */
function names(directory: string, all = false): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter(entry => all || !entry.isDirectory())
      .map(entry => entry.name)
      .sort()
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return []
    throw spoolError('read', directory, error)
  }
}
