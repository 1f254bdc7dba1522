/**
 * `maildropctl retry`, `hold`, `release` and `delete`: for messages named by their ids, or chosen by a filter.
 *
 * A filter means those of its messages that this can be done to; ids mean exactly these, and each that it cannot be done to
 * is an error, which stops none of the others.
 */
import type { MaildropConfig } from '../config.ts'
import { MaildropError } from '../errors.ts'
import { type MailFilter, selectMail } from '../spool/filter.ts'
import { findMails, type QueuedMail } from '../spool/listing.ts'
import { type MailRef, type Operation, operateOnAll } from '../spool/operations.ts'
import { confirmed } from './asking.ts'
import { type ChoiceOptions, filterOf, isChoice } from './choice.ts'
import { fail, messages, pour, printable, say, sayJson, usageError } from './output.ts'
import { rowOf } from './queue.ts'

export interface OperateOptions extends ChoiceOptions {
  readonly ids: readonly string[]
  readonly dryRun: boolean
  readonly json: boolean
  readonly yes?: boolean
}

type States = readonly QueuedMail['status'][]

/** For each operation, the states in which it is possible, those that a filter without a state means if not all of these, and the word for done. */
const OPERATIONS: Record<Operation, { readonly possible: States; readonly usual?: States; readonly done: string }> = {
  retry: { possible: ['waiting', 'scheduled', 'deferred', 'failed'], usual: ['deferred', 'failed'], done: 'due now' },
  hold: { possible: ['waiting', 'scheduled', 'deferred'], done: 'held' },
  release: { possible: ['held'], done: 'released' },
  delete: { possible: ['waiting', 'scheduled', 'deferred', 'held', 'failed'], done: 'deleted' },
}

/** Errors that are told one by one. */
const MAX_ERRORS = 20

export function operation(name: string, what: Operation) {
  return async (config: Pick<MaildropConfig, 'spools'>, options: OperateOptions): Promise<void> => {
    const byId = options.ids.length > 0
    if (byId && isChoice(options)) usageError(name, 'ids and a filter do not go together')
    if (!byId && !isChoice(options))
      usageError(name, `${what}: name messages by their ids, or choose them (--state, …)`)
    const errors: { readonly id: string; readonly error: MaildropError }[] = []
    const chosen = byId
      ? namedBy(options.ids, await findMails(config.spools, options.ids), errors)
      : selectMail(config.spools, { ...filterOf(options), states: statesOf(what, filterOf(options)) })
    if (options.dryRun) return await preview(what, chosen, errors, options.json)
    const mails = what === 'delete' ? await agreed(chosen, options) : chosen
    if (mails === undefined) return fail(name, 'nothing was deleted')
    const done: string[] = []
    for await (const { mail, id, error } of operateOnAll(what, mails)) {
      if (error === undefined) done.push(id)
      if (error === undefined && id !== mail.id && !options.json) say(`${printable(mail.id)} is now ${id}`)
      if (error !== undefined) errors.push({ id: mail.id, error })
    }
    report(what, done, errors, options.json)
  }
}

function statesOf(what: Operation, { states }: MailFilter): States {
  const { possible, usual = possible } = OPERATIONS[what]
  return states?.filter(state => possible.includes(state)) ?? usual
}

function* namedBy(
  ids: readonly string[],
  found: readonly (QueuedMail | MaildropError)[],
  errors: { id: string; error: MaildropError }[],
): Generator<QueuedMail> {
  for (const [index, mail] of found.entries()) {
    if (mail instanceof MaildropError) errors.push({ id: ids[index]!, error: mail })
    else yield mail
  }
}

type Chosen = Iterable<QueuedMail> | AsyncIterable<QueuedMail>
type Errors = readonly { readonly id: string; readonly error: MaildropError }[]

async function preview(
  what: Operation,
  chosen: Chosen,
  errors: { id: string; error: MaildropError }[],
  json: boolean,
): Promise<void> {
  const ids: string[] = []
  for await (const mail of chosen) {
    if (!OPERATIONS[what].possible.includes(mail.status)) {
      const text = `message ${mail.id} is ${mail.status}, where ${what} is not possible`
      errors.push({ id: mail.id, error: new MaildropError('WRONG_STATE', text) })
      continue
    }
    ids.push(mail.id)
    if (!json && !(await pour(rowOf(mail, Date.now())))) return
  }
  if (json) return report(what, ids, errors, true)
  tell(errors)
  say(`${messages(ids.length)} would be ${OPERATIONS[what].done}; nothing was changed`)
}

/** What is deleted is gone: a person is asked. */
async function agreed(chosen: Chosen, { yes, json }: OperateOptions): Promise<MailRef[] | undefined> {
  const mails: MailRef[] = []
  for await (const { spool, id, status, path } of chosen) mails.push({ spool, id, status, path })
  if (mails.length === 0 || yes || json || !process.stdin.isTTY) return mails
  return (await confirmed(`delete ${messages(mails.length)} for good?`)) ? mails : undefined
}

function report(what: Operation, done: readonly string[], errors: Errors, json: boolean): void {
  if (errors.length > 0) process.exitCode = 1
  if (json) {
    const failed = errors.map(({ id, error }) => ({ id, code: error.code, message: error.message }))
    sayJson({ [what]: done, failed })
  } else {
    tell(errors)
    if (done.length > 0 || errors.length === 0) say(`${messages(done.length)} ${OPERATIONS[what].done}`)
  }
}

function tell(errors: Errors): void {
  for (const { error } of errors.slice(0, MAX_ERRORS)) fail('maildropctl', error.message)
  if (errors.length > MAX_ERRORS) fail('maildropctl', `and ${errors.length - MAX_ERRORS} more like these`)
}
