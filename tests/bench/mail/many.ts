/**
 * Much mail in one transaction: a thousand messages beside as many transactions with one, a hundred recipients beside one, and what a
 * key costs. The time from `transact` to its return; mail is published in the background meanwhile, and waited for between two calls.
 */
import { latencies, median } from '../measure.ts'
import type { Row } from '../report.ts'
import { openTree } from './page.ts'
import type { Setting } from './setting.ts'

const RECIPIENTS = Array.from({ length: 100 }, (_, i) => `recipient-${i}@example.org`)

export async function many(setting: Setting): Promise<Row[]> {
  const { quick, rounds } = setting
  const [mails, calls] = quick ? [100, 20] : [1000, 200]
  const tree = await openTree(setting)
  let number = 0
  const contenders: Record<string, { calls: number; call: () => Promise<unknown> }> = {
    many: { calls: 1, call: () => tree.pageOf(number++, mails, {}) },
    one: { calls, call: () => tree.pageOf(number++, 1, {}) },
    recipients: { calls, call: () => tree.pageOf(number++, 1, { to: RECIPIENTS }) },
    keyed: { calls, call: () => tree.pageOf(number++, 1, { key: `key-${number}` }) },
  }
  const times = new Map<string, number[]>(Object.keys(contenders).map(name => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const [name, { calls, call }] of Object.entries(contenders)) {
      const took = await latencies(calls, call)
      if (round > 0) times.get(name)!.push(...took)
      await tree.published()
    }
  }
  await tree.close()
  const middle = (name: string) => median(times.get(name)!)
  const one = { 'a page with one mail': middle('one') }
  return [
    { measure: `one of ${mails} mails in one transaction`, unit: 'µs', ours: middle('many') / mails, peers: one },
    { measure: 'a page with one mail to 100 recipients', unit: 'µs', ours: middle('recipients'), peers: one },
    { measure: 'a page with one mail that has a key', unit: 'µs', ours: middle('keyed'), peers: one },
  ]
}
