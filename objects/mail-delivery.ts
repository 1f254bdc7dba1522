/**
 * The mails of one transaction, as a data manager: they are published if and only if it commits.
 */
import type { DataManager, Transaction } from '../lib/index.ts'
import { discardHeld, syncHeld, writeHeld } from '../maildrop/index.ts'
import type { MailPublisher } from './mail-publisher.ts'
import { LARGE_MAIL, mailKey, mailRow, type OutgoingMail } from './outgoing-mail.ts'

export class MailDelivery implements DataManager {
  readonly sortKey = 'maildrop'
  private readonly publisher: MailPublisher
  /** In the order of the sends; each is there as soon as its message is composed. */
  private mails: Promise<OutgoingMail | undefined>[] = []
  private ready: OutgoingMail[] = []
  private readonly held: OutgoingMail[] = []

  private constructor(publisher: MailPublisher) {
    this.publisher = publisher
  }

  /** The transaction's mails; joins it at the first call. @throws {ObjectError} TRANSACTION_FAILED if it is too late */
  static of(tx: Transaction, publisher: MailPublisher): MailDelivery {
    return tx.joined(MailDelivery, 'send', () => new MailDelivery(publisher))
  }

  /** Enters a mail. One that cannot be composed is left out: its sender is told by the same promise. */
  add(mail: Promise<OutgoingMail>): void {
    this.mails.push(mail.catch(() => undefined))
  }

  async prepare(tx: Transaction): Promise<void> {
    this.ready = (await Promise.all(this.mails)).filter(mail => mail !== undefined)
    const large = this.ready.filter(({ bytes }) => bytes !== undefined && bytes.length > LARGE_MAIL)
    for (const mail of large) {
      await this.publisher.recordSpool(mail.spool)
      this.held.push(mail)
      await writeHeld(mail.spool, mail.id, mail.bytes!)
    }
    for (const spool of new Set(large.map(({ spool }) => spool))) await syncHeld(spool)
    this.ready = this.ready.map(mail => (large.includes(mail) ? { ...mail, bytes: undefined } : mail))
    for (const mail of this.ready) tx.outbox.set(mailKey(mail.id), mailRow(mail, false))
  }

  finish(): void {
    this.publisher.publish(this.ready)
  }

  async abort(): Promise<void> {
    for (const { spool, id } of this.held) await discardHeld(spool, id)
  }

  savepoint(): { rollback(): void } {
    const count = this.mails.length
    return { rollback: () => this.mails.splice(count) }
  }
}
