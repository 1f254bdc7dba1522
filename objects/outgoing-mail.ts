/**
 * A mail on its way from a transaction to the spool, and the outbox row that stands for it.
 *
 * Row key: `mail/<id>`, where id is the mail's name in the spool; it ends with the database's own id, so that each database knows its held files.
 * Row value: one byte of state, the length of the spool's path (2 bytes, big endian), the path, and in state `p` the mail file's bytes.
 *
 *   p  pending, the bytes are here          h  pending, the bytes are in the held file
 *   r  released: the held file may be in the spool already
 */
export interface OutgoingMail {
  readonly id: string
  /** Absolute path of the spool. */
  readonly spool: string
  /** The mail file; undefined where the held file has it already. */
  readonly bytes: Buffer | undefined
}

/** What a row says. */
export interface MailRow extends OutgoingMail {
  readonly released: boolean
}

export const MAIL_ROWS = 'mail/'

/** Larger mails are held in a file before the commit; smaller ones travel in the row. Bytes. */
export const LARGE_MAIL = 64 * 1024

export const mailKey = (id: string): string => MAIL_ROWS + id

export function mailRow({ spool, bytes }: OutgoingMail, released: boolean): Buffer {
  const path = Buffer.from(spool)
  const head = Buffer.from([
    (released ? 'r' : bytes === undefined ? 'h' : 'p').charCodeAt(0),
    path.length >>> 8,
    path.length & 255,
  ])
  return Buffer.concat(released || bytes === undefined ? [head, path] : [head, path, bytes])
}

/** @returns undefined if the row is damaged */
export function readMailRow(key: string, value: Uint8Array | undefined): MailRow | undefined {
  if (value === undefined) return undefined
  const row = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const state = String.fromCharCode(row[0] ?? 0)
  const end = row.length < 3 ? 3 : 3 + row.readUInt16BE(1)
  if (!'phr'.includes(state) || row.length < end) return undefined
  return {
    id: key.slice(MAIL_ROWS.length),
    spool: row.toString('utf8', 3, end),
    bytes: state === 'p' ? row.subarray(end) : undefined,
    released: state === 'r',
  }
}
