/**
 * A process for crash tests: in one transaction adds a folder and sends a small and a large mail through /mail/XYZ, and kills itself at the
 * point named by argv[3]. argv[2] is the database's directory; the spool is MAILDROP_HOME's.
 */
import { subscribe } from 'node:diagnostics_channel'
import { SPOOL_CHANNEL } from '../../maildrop/index.ts'
import { Folder, MaildropHost, openDatabase } from '../../objects/index.ts'
import { PUBLISH_CHANNEL } from '../../objects/mail-publisher.ts'

const [, , home, point] = process.argv as [string, string, string, string]
const die = () => process.kill(process.pid, 'SIGKILL')

const db = await openDatabase(home)
subscribe(PUBLISH_CHANNEL, message => (message as { step: string }).step === point && die())
subscribe(SPOOL_CHANNEL, message => `spool ${(message as { step: string }).step}` === point && die())

await db.transact(async (app, tx) => {
  const host = app.traverse('/mail/XYZ', MaildropHost)
  app.add(point, new Folder())
  for (const size of [100, 300_000])
    await host.send(`From: a@example.org\nTo: b@example.org\nSubject: ${point} ${size}\n\n${'text\n'.repeat(size / 5)}`)
  tx.join({ sortKey: 'a: first', prepare: () => void (point === 'before anything' && die()) })
  tx.join({ sortKey: 'z: last', prepare: () => void (point === 'before the batch' && die()) })
})
await db.close()
