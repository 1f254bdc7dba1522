/**
 * Verifies DKIM signatures as RFC 6376 says it, relaxed/relaxed and rsa-sha256 only: independent of what made them. The key
 * is given, where a real verifier would ask the DNS.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash, type KeyObject, verify } from 'node:crypto'

export interface Verified {
  /** The tags of the signature. */
  readonly tags: Readonly<Record<string, string>>
  readonly bodyHash: boolean
  readonly signature: boolean
}

/** @param message as received: lines end with CRLF, one character per byte; the signature to verify is its first */
export function verifyDkim(message: string, key: KeyObject): Verified {
  const end = message.indexOf('\r\n\r\n')
  const head = end === -1 ? message : message.slice(0, end + 2)
  const body = end === -1 ? '' : message.slice(end + 4)
  const fields = head.split(/\r\n(?![ \t])/).filter(field => field !== '')
  const own = fields.findIndex(field => /^dkim-signature[ \t]*:/i.test(field))
  const signature = fields[own] ?? ''
  const tags = tagsOf(signature.slice(signature.indexOf(':') + 1))

  const others = fields.filter((_, i) => i !== own)
  const covered: string[] = []
  for (const name of (tags.h ?? '').split(':').map(text => text.trim().toLowerCase())) {
    // From the bottom upward (section 5.4.2); a name without a field of its own adds nothing.
    const at = others.findLastIndex(field => field.slice(0, field.indexOf(':')).trim().toLowerCase() === name)
    if (at !== -1) covered.push(`${relaxedField(others.splice(at, 1)[0]!)}\r\n`)
  }
  const emptied = signature.replace(/([;\s]b[ \t]*=)[^;]*/, '$1')
  const data = Buffer.from(covered.join('') + relaxedField(emptied), 'latin1')
  const value = Buffer.from((tags.b ?? '').replace(/\s/g, ''), 'base64')
  return {
    tags,
    bodyHash: createHash('sha256').update(relaxedBody(body), 'latin1').digest('base64') === tags.bh?.replace(/\s/g, ''),
    signature: tags.a === 'rsa-sha256' && tags.c === 'relaxed/relaxed' && verify('sha256', data, key, value),
  }
}

function tagsOf(list: string): Record<string, string> {
  const tags = list.split(';').map(tag => /^\s*([a-z]+)\s*=\s*([\s\S]*?)\s*$/.exec(tag))
  return Object.fromEntries(tags.flatMap(tag => (tag ? [[tag[1]!, tag[2]!]] : [])))
}

/** Section 3.4.2. */
function relaxedField(field: string): string {
  const colon = field.indexOf(':')
  const value = field
    .slice(colon + 1)
    .replace(/\r\n/g, '')
    .replace(/[ \t]+/g, ' ')
    .trim()
  return `${field.slice(0, colon).trim().toLowerCase()}:${value}`
}

/** Section 3.4.4. */
function relaxedBody(body: string): string {
  const lines = body.split('\r\n').map(line => line.replace(/[ \t]+/g, ' ').replace(/ $/, ''))
  while (lines.length > 0 && lines.at(-1) === '') lines.pop()
  return lines.length === 0 ? '' : `${lines.join('\r\n')}\r\n`
}

/** The system's own Python, since that is where the Debian package is. */
const PYTHON = '/usr/bin/python3'
const VERIFIER = `
import base64, dkim, json, sys

asked = json.load(sys.stdin)
def ask(name, timeout=5):
    return asked['text'].encode() if name.decode().rstrip('.') == asked['name'] else None
print(json.dumps([dkim.verify(base64.b64decode(message), dnsfunc=ask) for message in asked['messages']]))
`

/** What keeps dkimpy, a verifier that shares no code with ours and nodemailer, from being used. */
export function dkimpyProblem(): string | undefined {
  const found = spawnSync(PYTHON, ['-I', '-c', 'import dkim']).status === 0
  return found ? undefined : 'install the Debian package python3-dkim'
}

/** Which of these messages dkimpy verifies, if the DNS has nothing but this record. */
export function verifyWithDkimpy(
  messages: readonly string[],
  record: { readonly name: string; readonly text: string },
): boolean[] {
  const input = JSON.stringify({
    ...record,
    messages: messages.map(text => Buffer.from(text, 'latin1').toString('base64')),
  })
  return JSON.parse(execFileSync(PYTHON, ['-I', '-c', VERIFIER], { input, encoding: 'utf8', maxBuffer: 1 << 26 }))
}
