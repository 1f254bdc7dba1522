/**
 * A process for crash tests, which kills itself at a point of a message's way from a transaction to the spool.
 *
 *     mailer.ts DATABASE POINT            adds a folder named POINT and sends a small and a large mail in one transaction
 *     mailer.ts DATABASE POINT fail       the same, and the transaction fails after all
 *     mailer.ts DATABASE POINT recover    opens the database and closes it
 *     mailer.ts DATABASE POINT submit     publishes one mail in the spool, without a database
 *
 * The spool is MAILDROP_HOME's. Points: `before anything` and `before the batch` of the commit, the steps of publishing, and those of
 * the spool with `spool ` in front; or a word that is none, and nothing is killed.
 */
import { subscribe } from 'node:diagnostics_channel'
import { join } from 'node:path'
import { formatMailFile, newMailId, SPOOL_CHANNEL, submit } from '../../maildrop/index.ts'
import { Folder, MaildropHost, openDatabase } from '../../objects/index.ts'
import { PUBLISH_CHANNEL } from '../../objects/mail-publisher.ts'

const [, , home, point, mode] = process.argv as string[] as [string, string, string, string, string | undefined]
const die = () => process.kill(process.pid, 'SIGKILL')

subscribe(PUBLISH_CHANNEL, message => (message as { step: string }).step === point && die())
subscribe(SPOOL_CHANNEL, message => `spool ${(message as { step: string }).step}` === point && die())

const mailOf = (size: number): string =>
  `From: a@example.org\nTo: b@example.org\nSubject: ${point} ${size}\n\n${'text\n'.repeat(size / 5)}`

if (mode === 'submit') {
  const id = newMailId()
  const bytes = formatMailFile(
    { id, from: 'a@example.org', to: ['b@example.org'] },
    Buffer.from(mailOf(100).replaceAll('\n', '\r\n')),
  )
  await submit(join(process.env.MAILDROP_HOME!, 'spool'), id, bytes)
} else {
  const db = await openDatabase(home)
  const work = db.transact(async (app, tx) => {
    if (mode === 'recover') return
    const host = app.traverse('/mail/XYZ', MaildropHost)
    app.add(point, new Folder())
    for (const size of [100, 300_000]) await host.send(mailOf(size))
    tx.join({ sortKey: 'a: first', prepare: () => void (point === 'before anything' && die()) })
    tx.join({
      sortKey: 'z: last',
      prepare() {
        if (mode === 'fail') throw new Error('failed after all')
        if (point === 'before the batch') die()
      },
    })
  })
  await (mode === 'fail' ? work.catch(() => undefined) : work)
  await db.close()
}
