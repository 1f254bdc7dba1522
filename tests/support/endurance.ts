/**
 * A process that goes on committing, whatever happens to its disk, until it is killed.
 *
 *     endurance.ts HOME      prints `begin N` before each transaction, and then what became of it:
 *                            `done N`, `failed N CODE`, or `doubt N` and later, when that is known, `outcome N true` or `false`
 *
 * Transaction N makes `/N`, a blob whose content is its name, and sends a mail with the subject `mail N`, some large.
 */
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Blob, MaildropHost, openDatabase, type Transaction } from '../../objects/index.ts'

const [home] = process.argv.slice(2) as [string]
process.env.MAILDROP_HOME = join(home, 'maildrop')
process.on('warning', () => undefined)
const say = (...words: unknown[]) => writeSync(1, `${words.join(' ')}\n`)
const db = await openDatabase(join(home, 'objects'))
await db.transact(app => void app.create('/XYZ', new MaildropHost()))

let last = 0
async function commit(): Promise<void> {
  const n = ++last
  let tx: Transaction | undefined
  say('begin', n)
  try {
    await db.transact(async (app, its) => {
      tx = its
      const blob = app.create(`/${n}`, new Blob())
      if (n % 3 === 0) await blob.write(`${n}`)
      const text = 'x\n'.repeat(n % 10 === 0 ? 40_000 : Math.random() * 4000)
      const options = { to: 'a@example.org', from: 'b@example.org', subject: `mail ${n}` }
      if (n % 2 === 0) await app.traverse('/XYZ', MaildropHost).send({ text }, options)
      else blob.mediaType = text
    })
    say('done', n)
  } catch (error) {
    if (!tx?.inDoubt) return void say('failed', n, (error as { code: string }).code)
    say('doubt', n)
    void tx.outcome?.then(happened => say('outcome', n, happened))
  }
}

await Promise.all(
  Array.from({ length: 4 }, async () => {
    for (;;) {
      await commit()
      await delay(5)
    }
  }),
)
