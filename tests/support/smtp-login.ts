/** The server's half of AUTH: PLAIN, LOGIN, CRAM-MD5 and XOAUTH2. */
import { createHmac } from 'node:crypto'

export interface Login {
  readonly mechanism: string
  readonly user: string
  /** The password or token as it came; of CRAM-MD5 the digest. */
  readonly secret: string
  /** Whether the connection was encrypted. */
  readonly secure: boolean
  matches(password: string | undefined): boolean
}

type Next = { readonly challenge: string } | { readonly refused: string } | { readonly login: Login }

/** @param command the line that begins with AUTH */
export function startLogin(command: string, secure: boolean): { next(line: string | undefined): Next } {
  const [, mechanism = '', initial] = command.split(' ')
  const given: string[] = initial === undefined ? [] : [decode(initial)]
  const challenge = '<1896.697170952@script>'
  const plain = (user: string, secret: string): Next => ({
    login: { mechanism, user, secret, secure, matches: password => password === secret },
  })

  const decide: Record<string, () => Next> = {
    PLAIN() {
      if (given[0] === undefined) return { challenge: '' }
      const [, user = '', secret = ''] = given[0].split('\0')
      return plain(user, secret)
    },
    LOGIN() {
      const [user, secret] = given
      if (user === undefined) return { challenge: encode('Username:') }
      return secret === undefined ? { challenge: encode('Password:') } : plain(user, secret)
    },
    'CRAM-MD5'() {
      if (given[0] === undefined) return { challenge: encode(challenge) }
      const [user = '', secret = ''] = given[0].split(' ')
      const matches = (password = '') => createHmac('md5', password).update(challenge).digest('hex') === secret
      return { login: { mechanism, user, secret, secure, matches } }
    },
    XOAUTH2() {
      const [, user, token] = /^user=([^\x01]*)\x01auth=Bearer ([^\x01]*)\x01\x01$/.exec(given[0] ?? '') ?? []
      return user === undefined || token === undefined ? { refused: '501 5.5.2 malformed' } : plain(user, token)
    },
  }

  return {
    next(line) {
      if (line === '*') return { refused: '501 5.7.0 cancelled' }
      if (line !== undefined) given.push(decode(line))
      return decide[mechanism]?.() ?? { refused: '504 5.5.4 unknown mechanism' }
    },
  }
}

function decode(text: string): string {
  return text === '=' ? '' : Buffer.from(text, 'base64').toString()
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64')
}
