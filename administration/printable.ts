/** Text of data that must not control the terminal: whatever is not visible becomes an escape. */
export function printable(text: string): string {
  return text.replace(/(?!\t)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, each => `\\u{${each.codePointAt(0)!.toString(16)}}`)
}
