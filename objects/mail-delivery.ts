/**
 * The mails of one transaction, as a data manager: they are published if and only if it commits.
 */
import type { DataManager, Transaction } from '../lib/index.ts'
import { discardHeld, syncHeld, writeHeld } from '../maildrop/index.ts'
import type { MailSystem } from './mail-system.ts'
import { LARGE_MAIL, mailKey, mailRow, type OutgoingMail } from './outgoing-mail.ts'
import type { KeyName } from './sent-keys.ts'

/** What a message with a key brings. */
export interface Keyed {
  readonly name: KeyName
  /** Enters the key in the database. */
  enter(messageId: string): void
}

interface Entry {
  /** Undefined if it could not be composed. */
  readonly mail: Promise<OutgoingMail | undefined>
  readonly keyed?: Keyed & { readonly messageId: Promise<string> }
  failed: boolean
}

export class MailDelivery implements DataManager {
  readonly sortKey = 'maildrop'
  private readonly system: Pick<MailSystem, 'publisher' | 'keys'>
  /** In the order of the sends; each is there as soon as its message is composed. */
  private entries: Entry[] = []
  private ready: OutgoingMail[] = []
  private readonly held: OutgoingMail[] = []

  private constructor(system: MailDelivery['system']) {
    this.system = system
  }

  /** The transaction's mails; joins it at the first call. @throws {ObjectError} TRANSACTION_FAILED if it is too late */
  static of(tx: Transaction, system: MailDelivery['system']): MailDelivery {
    return tx.joined(MailDelivery, 'send', () => new MailDelivery(system))
  }

  /** Enters a mail. One that cannot be composed is left out: its sender is told by the same promise. */
  add(mail: Promise<OutgoingMail>, keyed?: Entry['keyed']): void {
    const entry: Entry = {
      ...(keyed !== undefined && { keyed }),
      mail: mail.catch(() => {
        entry.failed = true
        return undefined
      }),
      failed: false,
    }
    this.entries.push(entry)
  }

  /** The Message-ID of the mail of this transaction that has that key; undefined if there is none. It rejects if the mail cannot be sent. */
  sentAs(name: KeyName): Promise<string> | undefined {
    return this.entries.find(({ keyed, failed }) => keyed?.name === name && !failed)?.keyed?.messageId
  }

  async prepare(tx: Transaction): Promise<void> {
    this.ready = (await Promise.all(this.entries.map(({ mail }) => mail))).filter(mail => mail !== undefined)
    for (const { keyed, failed } of this.entries) if (keyed && !failed) keyed.enter(await keyed.messageId)
    const { publisher } = this.system
    // who publishes elsewhere does not know, if the connection breaks, whether a held file is needed: its rows have everything
    const isLarge = ({ bytes }: OutgoingMail) => publisher.publishes && bytes !== undefined && bytes.length > LARGE_MAIL
    const large = this.ready.filter(isLarge)
    for (const mail of large) {
      await publisher.recordSpool(mail.spool)
      this.held.push(mail)
      await writeHeld(mail.spool, mail.id, mail.bytes!)
    }
    for (const spool of new Set(large.map(({ spool }) => spool))) await syncHeld(spool)
    this.ready = this.ready.map(mail => (large.includes(mail) ? { ...mail, bytes: undefined } : mail))
    for (const mail of this.ready) tx.outbox.set(mailKey(mail.id), mailRow(mail, false))
  }

  finish(): void {
    this.system.publisher.publish(this.ready)
    if (this.entries.some(({ keyed }) => keyed !== undefined)) this.system.keys.start()
  }

  async abort(tx: Transaction): Promise<void> {
    if (!tx.inDoubt) await this.discard()
  }

  async decided(_: Transaction, happened: boolean): Promise<void> {
    if (happened) this.finish()
    else await this.discard()
  }

  private async discard(): Promise<void> {
    for (const { spool, id } of this.held) await discardHeld(spool, id)
  }

  savepoint(): { rollback(): void } {
    const count = this.entries.length
    return { rollback: () => this.entries.splice(count) }
  }
}
