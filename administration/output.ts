/**
 * What commands print with: tables and colours on a terminal; tabs, and nothing that is not data, in a pipe.
 *
 * Data never controls the terminal: what is not visible is shown as an escape. Colours obey NO_COLOR (no-color.org).
 */
import { createRequire } from 'node:module'
import { stripVTControlCharacters, styleText } from 'node:util'
import type CliTable from 'cli-table3'
import { pour, say } from '../maildrop/commands/output.ts'
import { jsonPieces } from './json-pieces.ts'
import { printable } from './printable.ts'

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan'

export class Output {
  /** Whether people look at it, not a program. */
  readonly terminal: boolean
  private readonly colours: boolean
  private readonly columns: number

  constructor(stream: NodeJS.WriteStream = process.stdout) {
    this.terminal = stream.isTTY === true
    this.columns = stream.columns || Number.POSITIVE_INFINITY
    this.colours = this.terminal && stream.hasColors()
  }

  /** A line, as it is. */
  line(text = ''): void {
    say(text)
  }

  /** As JSON, no faster than it is read. */
  async json(value: unknown): Promise<void> {
    let text = ''
    for (const piece of jsonPieces(value)) {
      text += piece
      if (text.length < PIECE) continue
      if (!(await pour(text))) return
      text = ''
    }
    await pour(`${text}\n`)
  }

  style(style: Style, text: string): string {
    return this.colours ? styleText(style, text, { validateStream: false }) : text
  }

  /** A table with its head on a terminal; in a pipe a line for each row, with tabs between. Cells that are data have to be `cell`s. */
  table(head: readonly string[], rows: readonly (readonly string[])[], empty = '(empty)'): void {
    if (!this.terminal) {
      for (const row of rows) say(stripVTControlCharacters(row.join('\t')))
      return
    }
    if (rows.length === 0) {
      say(this.style('dim', empty))
      return
    }
    // not before it is needed
    const Table = createRequire(import.meta.url)('cli-table3') as typeof CliTable
    const widths = fitting([head, ...rows], this.columns)
    const table = new Table({
      head: head.map(each => this.style('bold', each)),
      style: { head: [], border: [], compact: true },
      ...(widths !== undefined && { colWidths: widths }),
    })
    table.push(...rows.map(row => [...row]))
    say(table.toString())
  }

  /** A text on one line: all of it in a pipe, the beginning of a long one for people. */
  short(text: string): string {
    if (!this.terminal || text.length <= LONG) return text
    return `${text.slice(0, LONG).toWellFormed()}… (${count(text.length, 'character')})`
  }

  /** Bytes or text that are the result itself. @returns false once nobody reads any more */
  pour(data: string | Uint8Array): Promise<boolean> {
    return pour(data)
  }
}

/** Characters that are written at a time. */
const PIECE = 64 * 1024
/** Characters of one value that people are shown. */
const LONG = 2000
/** What a column has at least, with a blank on each side. */
const NARROWEST = 8

/**
 * The widths of columns with which a table fits into so many characters: the widest give, and what does not fit is cut off.
 * @returns undefined if it fits as it is, or cannot
 */
export function fitting(rows: readonly (readonly string[])[], most: number): number[] | undefined {
  const widths: number[] = []
  for (const row of rows)
    for (const [i, text] of row.entries())
      widths[i] = Math.max(widths[i] ?? 0, stripVTControlCharacters(text).length + 2)
  const room = most - widths.length - 1
  const cut = (widest: number) => widths.map(width => Math.min(width, widest))
  const fits = (widest: number) => cut(widest).reduce((sum, width) => sum + width, 0) <= room
  let widest = Math.max(...widths)
  if (fits(widest) || !fits(NARROWEST)) return undefined
  while (!fits(widest)) widest -= 1
  return cut(widest)
}

/** A value as a table's cell: one line, without anything that a terminal would obey. */
export function cell(value: unknown): string {
  if (typeof value === 'string' && !/\p{Cc}/u.test(value)) return printable(value)
  return printable(JSON.stringify(value) ?? '')
}

/** `1 object`, `1,234 objects`. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString('en')} ${n === 1 ? one : many}`
}

/** Bytes for people: 512 B, 1.5 KiB. */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const power = n < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(n) / 10))
  return `${power === 0 ? n : (n / 1024 ** power).toFixed(1)} ${units[power]}`
}

/** A moment on one line, to the second. */
export const when = (iso: string): string => iso.replace('T', ' ').replace(/\.\d+Z$/, 'Z')
