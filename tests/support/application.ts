/**
 * An application that has the database at argv[2] open, with a class of its own, and says `open`. argv[3] are further options as JSON.
 * SIGTERM closes the database and ends it.
 */
import { writeSync } from 'node:fs'
import { openDatabase, Persistent, type Properties, registerClass } from '../../objects/index.ts'

class Order extends Persistent {
  static properties: Properties = { amount: { type: 'number', description: 'what it is about' } }
  amount = 5
}

registerClass('Order', Order)

const db = await openDatabase(process.argv[2]!, JSON.parse(process.argv[3] ?? '{}'))
await db.transact(app => {
  if (!app.has('order')) app.add('order', new Order())
})
process.on('SIGTERM', () => db.close().then(() => process.exit(0)))
process.on('warning', ({ message }) => writeSync(2, `warning: ${message}\n`))
setInterval(() => undefined, 1000)
writeSync(1, 'open\n')
