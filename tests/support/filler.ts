/**
 * A process that sends mail, one transaction each, until its disk has been full for a while; for tests that limit the size of its files.
 *
 *     filler.ts HOME COUNT BYTES       prints the number of each acknowledged transaction, and the code of each error
 */
import { join } from 'node:path'
import { MaildropHost, openDatabase } from '../../objects/index.ts'

const [home, count, bytes] = process.argv.slice(2) as [string, string, string]
process.env.MAILDROP_HOME = join(home, 'maildrop')
process.on('warning', () => undefined)
const db = await openDatabase(join(home, 'objects'))
await db.transact(app => void app.create('/XYZ', new MaildropHost()))
for (let i = 1; i <= Number(count); i++) {
  try {
    await db.transact(async app => {
      app.title = `${i}`
      const options = { to: 'a@example.org', from: 'b@example.org', subject: `mail ${i}` }
      await app.traverse('/XYZ', MaildropHost).send({ text: 'x'.repeat(Number(bytes)) }, options)
    })
    console.log(`done ${i}`)
  } catch (error) {
    console.log(`error ${(error as { code: string }).code}`)
  }
}
await db.close().catch(() => undefined)
