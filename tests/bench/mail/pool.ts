/** A process that sends messages from memory through nodemailer's own pool: pool.ts PORT CONNECTIONS COUNT SIZE */
import { createTransport } from 'nodemailer'
import type { PoolResult } from './peers.ts'
import { FROM, message, TO } from './sample.ts'

const [port, connections, count, size] = process.argv.slice(2).map(Number) as [number, number, number, number]
const transport = createTransport({
  pool: true,
  host: '127.0.0.1',
  port,
  ignoreTLS: true,
  maxConnections: connections,
  maxMessages: Number.POSITIVE_INFINITY,
})
const raw = message(size)
const envelope = { from: FROM, to: [TO] }
let left = count
const begun = performance.now()
const before = process.cpuUsage()
async function feed(): Promise<void> {
  while (left-- > 0) await transport.sendMail({ envelope, raw })
}
await Promise.all(Array.from({ length: connections * 2 }, feed))
const seconds = (performance.now() - begun) / 1000
const { user, system } = process.cpuUsage(before)
process.stdout.write(JSON.stringify({ seconds, cpu: (user + system) / count } satisfies PoolResult))
process.exit()
