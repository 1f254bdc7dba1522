/** A database in memory with a mail host at /mail/XYZ and a spool of its own, and what its messages are, read by mailparser and compared with what Python reads. */
import { join } from 'node:path'
import { type ParsedMail, simpleParser } from 'mailparser'
import type { Test } from 'tap'
import { type Application, type Database, MaildropHost, openDatabase } from '../../objects/index.ts'
import { mailSystemOf } from '../../objects/mail-system.ts'
import { newLevel } from './database.ts'
import { mailsIn } from './maildrop.ts'
import { directory } from './program.ts'
import { checkWithTwoParsers } from './python-mail.ts'

export interface MailDatabase {
  readonly db: Database<Application>
  readonly home: string
  /** The mail files in the spool, in the order in which they were sent; what has been committed is published first. */
  mails(): Promise<string[]>
  messages(): Promise<ParsedMail[]>
}

export async function mailDatabase(t: Test): Promise<MailDatabase> {
  const home = await directory(t)
  process.env.MAILDROP_HOME = home
  const db = await openDatabase(newLevel())
  t.teardown(() => db.close())
  await db.transact(app => app.create('/mail/XYZ', new MaildropHost(), { parents: true }))
  const mails = async () => {
    await mailSystemOf(db).publisher.settled()
    return mailsIn(join(home, 'spool'))
  }
  return {
    db,
    home,
    mails,
    async messages() {
      const contents = (await mails()).map(mail => Buffer.from(messageOf(mail)))
      if (contents.length > 0) await checkWithTwoParsers(contents)
      return await Promise.all(contents.map(content => simpleParser(content)))
    },
  }
}

export const hostOf = (app: Application): MaildropHost => app.traverse('/mail/XYZ', MaildropHost)

/** A mail file without its `##` lines. */
export const messageOf = (mail: string): string => mail.replace(/^(?:##.*\n)*/, '')
