/**
 * Signing messages (DKIM, RFC 6376), with the functions of nodemailer. The message is read twice, once to compute the hash of
 * its body and once to be sent, so that none of it is kept in memory or on disk.
 *
 * Promises: with a key configured nothing is sent unsigned; what is signed are the bytes that are sent.
 */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import MessageParser, { type MessageParserHeaderLine } from 'nodemailer/lib/dkim/message-parser'
import RelaxedBody from 'nodemailer/lib/dkim/relaxed-body'
import signatureOf from 'nodemailer/lib/dkim/sign'
import { messageOf } from '../errors.ts'
import { readSmallFile, SMALL } from '../small-file.ts'
import type { DkimConfig } from '../smtp-config.ts'
import { withCrlf } from './crlf.ts'
import { noReply, SessionError } from './failure.ts'
import { type Outgoing, scanStream } from './outgoing.ts'

export interface Signer {
  /** What has to be published in the DNS: the name, and the text of its TXT record. */
  readonly record: { readonly name: string; readonly text: string }
  /** The message with a signature before it. */
  sign(message: Outgoing): Promise<Outgoing>
}

/** Bits of a key that is not to be used any more (RFC 8301 section 3.2). */
const MIN_BITS = 1024
const HASH = 'sha256'

/** @throws {SessionError} if the key cannot be used */
export function openSigner({ domain, selector, keyFile }: DkimConfig): Signer {
  const privateKey = readKey(keyFile)
  const published = createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).toString('base64')
  return {
    record: { name: `${selector}._domainkey.${domain}`, text: `v=DKIM1; k=rsa; p=${published}` },
    async sign(message) {
      const { headers, hash } = await digest(message.peek())
      const options = { domainName: domain, keySelector: selector, privateKey }
      const field = signatureOf(headers, HASH, hash, options)
      if (field === false) throw new Error(`cannot sign with the key in MAILDROP_DKIM_KEY_FILE ${keyFile}`)
      return signed(message, Buffer.from(`${field}\r\n`, 'latin1'))
    },
  }
}

function signed(message: Outgoing, field: Buffer): Outgoing {
  const prefixed = (bytes: Readable): Readable => Readable.from(behind(field, bytes), { objectMode: false })
  return {
    ...message,
    size: field.length + message.size,
    peek: () => prefixed(message.peek()),
    scan: visit => scanStream(prefixed(message.peek()), visit),
    open: progress => prefixed(message.open(progress)),
    small: undefined,
  }
}

/** In one piece with the first, because every piece is a packet of its own. */
async function* behind(field: Buffer, bytes: Readable): AsyncGenerator<Buffer> {
  let first: Buffer | undefined = field
  for await (const piece of bytes) {
    yield first === undefined ? piece : Buffer.concat([first, piece])
    first = undefined
  }
  if (first !== undefined) yield first
}

async function digest(bytes: Readable): Promise<{ headers: MessageParserHeaderLine[]; hash: string }> {
  const parser = new MessageParser()
  const body = new RelaxedBody({ hashAlgo: HASH })
  let headers: MessageParserHeaderLine[] = []
  let hash = ''
  parser.once('headers', (found: MessageParserHeaderLine[]) => {
    headers = found
  })
  body.once('hash', (found: string) => {
    hash = found
  })
  const nowhere = new Writable({ write: (_piece, _encoding, done) => done() })
  await pipeline(Readable.from(withCrlf(bytes), { objectMode: false }), parser, body, nowhere)
  return { headers, hash }
}

function readKey(file: string): KeyObject {
  const fail = (problem: string): never => {
    throw new SessionError(noReply('local', `MAILDROP_DKIM_KEY_FILE ${file}: ${problem}`))
  }
  let pem: string
  try {
    pem = readSmallFile(file, SMALL)
  } catch (error) {
    return fail(messageOf(error))
  }
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch {
    return fail('it is not a private key in PEM format without a passphrase')
  }
  if (key.asymmetricKeyType !== 'rsa') return fail(`the key is ${key.asymmetricKeyType}, not rsa`)
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0
  return bits < MIN_BITS ? fail(`the key has ${bits} bits; make one of 2048`) : key
}
