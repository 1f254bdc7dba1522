/** Lines of bytes, however they come in pieces. */

export class LineTooLong extends Error {}

/**
 * Cuts a stream into lines at LF; what follows the last one is dropped.
 * @param most bytes that a line may have
 * @returns a function to be given the pieces, which calls `take` with each line, and throws LineTooLong
 */
export function lineCutter(take: (line: string) => void, most: number): (piece: Buffer) => void {
  let rest: Buffer[] = []
  let size = 0
  const keep = (piece: Buffer): void => {
    size += piece.length
    if (size > most) throw new LineTooLong(`a line of more than ${most.toLocaleString('en')} bytes`)
    rest.push(piece)
  }
  return piece => {
    let from = 0
    for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, from)) {
      keep(piece.subarray(from, end))
      const line = Buffer.concat(rest).toString()
      rest = []
      size = 0
      from = end + 1
      take(line)
    }
    if (from < piece.length) keep(piece.subarray(from))
  }
}
