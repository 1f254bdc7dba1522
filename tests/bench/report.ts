/** What the benchmarks print: a row for each measurement, with the target it has to reach if it has one. */
import Table from 'cli-table3'

export interface Row {
  readonly measure: string
  readonly unit: string
  /** This database's number. */
  readonly ours: number
  /** Those of the others, by their names. */
  readonly peers: Readonly<Record<string, number>>
  readonly target?: Target
}

export interface Target {
  /** What `value` is, as `ours / level`. */
  readonly of: string
  readonly value: number
  readonly atLeast?: number
  readonly atMost?: number
}

export const reached = ({ value, atLeast = -Infinity, atMost = Infinity }: Target): boolean =>
  value >= atLeast && value <= atMost

const PEERS_IN_A_LINE = 3

function figure(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function table(rows: readonly Row[]): string {
  const target = ({ target }: Row) => {
    if (target === undefined) return ['', '', '']
    const limit = target.atLeast === undefined ? `<= ${figure(target.atMost!)}` : `>= ${figure(target.atLeast)}`
    return [`${target.of} = ${figure(target.value)}`, limit, reached(target) ? 'reached' : 'MISSED']
  }
  const peers = ({ peers }: Row) => {
    const each = Object.entries(peers).map(([name, value]) => `${name} ${figure(value)}`)
    const lines = each.flatMap((_, i) =>
      i % PEERS_IN_A_LINE === 0 ? [each.slice(i, i + PEERS_IN_A_LINE).join('  ')] : [],
    )
    return lines.join('\n')
  }
  const printed = new Table({
    head: ['measured', 'unit', 'ours', 'compared with', 'ratio', 'target', ''],
    colAligns: ['left', 'left', 'right'],
    style: { head: [], border: [], compact: true },
  })
  for (const row of rows) printed.push([row.measure, row.unit, figure(row.ours), peers(row), ...target(row)])
  return printed.toString()
}
