/** Messages as Python's email package reads them (policy `default`): a parser that shares nothing with ours or mailparser. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { simpleParser } from 'mailparser'

export interface PythonMail {
  /** What the parser, or one of the headers it read, objects to. */
  readonly defects: readonly string[]
  readonly headers: readonly (readonly [string, string])[]
  readonly type: string
  readonly filename: string | null
  readonly disposition: string | null
  readonly cid: string | null
  readonly parts: readonly PythonMail[]
  /** Of a leaf: its text, or for other types its bytes in base64. */
  readonly text?: string
  readonly data?: string
}

const PROGRAM = `
import base64, email, email.policy, json, sys

def read(message):
    defects = [repr(d) for d in message.defects]
    headers = []
    for name, value in message.items():
        defects += [repr(d) for d in value.defects]
        headers.append([name, str(value)])
    found = {
        'headers': headers, 'type': message.get_content_type(), 'filename': message.get_filename(),
        'disposition': message.get_content_disposition(), 'cid': message['content-id'] and str(message['content-id']),
        'parts': [],
    }
    if message.is_multipart():
        found['parts'] = [read(part) for part in message.iter_parts()] if message.get_content_maintype() == 'multipart' else [read(p) for p in message.get_payload()]
    elif message.get_content_maintype() == 'text':
        found['text'] = message.get_content().replace('\\r\\n', '\\n')
    else:
        found['data'] = base64.b64encode(message.get_payload(decode=True)).decode()
    defects += [repr(d) for d in message.defects if repr(d) not in defects]
    found['defects'] = defects + [d for part in found['parts'] for d in part['defects']]
    return found

for line in sys.stdin:
    message = email.message_from_bytes(base64.b64decode(line), policy=email.policy.default)
    print(json.dumps(read(message)))
`

/** Reads messages; throws if there is no python3, which these tests need. */
export function readWithPython(messages: readonly Buffer[]): PythonMail[] {
  const input = messages.map(message => `${message.toString('base64')}\n`).join('')
  const { status, stdout, stderr, error } = spawnSync('python3', ['-I', '-c', PROGRAM], {
    input,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  })
  if (error !== undefined || status !== 0) throw new Error(`python3 could not read the messages: ${error ?? stderr}`)
  return stdout
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as PythonMail)
}

/** Two parsers that share nothing agree about messages, and Python's objects to nothing in them. */
export async function checkWithTwoParsers(contents: readonly Buffer[]): Promise<void> {
  for (const [i, python] of readWithPython(contents).entries()) {
    const mail = await simpleParser(contents[i]!)
    const wire = contents[i]!.toString('latin1').slice(0, 600)
    const header = (name: string) => python.headers.find(([key]) => key.toLowerCase() === name)?.[1]
    const addresses = [mail.from, mail.to, mail.cc].flat().flatMap(list => list?.value ?? [])
    assert.deepEqual(python.defects, [], wire)
    assert.deepEqual(
      python.headers.map(([name]) => name.toLowerCase()),
      mail.headerLines.map(({ key }) => key),
      wire,
    )
    assert.equal(header('subject'), mail.subject, wire)
    assert.equal(header('message-id'), mail.messageId, wire)
    for (const { address } of addresses.flatMap(one => one.group ?? one))
      assert.ok(
        python.headers.some(([, value]) => value.includes(address ?? '')),
        `${address} ${wire}`,
      )
    if (python.parts.length === 0 && python.type === 'text/plain')
      assert.equal(python.text?.trimEnd(), (mail.text ?? '').trimEnd(), wire)
  }
}
