/**
 * An SMTP server that follows a script: for every stage of the dialogue what `smtp-step.ts` describes, or what a function decides.
 *
 *     const server = await startSmtpScript({ rcpt: to => (to.startsWith('no') ? '550 5.1.1 no such user' : undefined) })
 *     server.port … server.messages … await server.close()
 *
 * `messages` holds what was accepted, as it came over the wire with dots unstuffed: a message counts when its final dot has
 * been read and the answer is positive or `drop-after-dot`. `incomplete` counts the others that were waited for. The
 * server is strict: it reads nothing but CRLF as a line end, and notes under `violations` what RFC 5321 forbids a client.
 *
 * TLS: `STARTTLS` among `extensions` is offered and done, with the certificate of tests/support/tls for localhost and
 * 127.0.0.1 unless `tls` says otherwise; `implicit` begins with TLS. Logins: `AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2` among
 * `extensions`; with `users`, names and passwords (or tokens), they are checked and MAIL wants one.
 */
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { createSecureContext, type SecureContextOptions, TLSSocket } from 'node:tls'
import { PROJECT } from './children.ts'
import { type Login, startLogin } from './smtp-login.ts'
import { perform, type Step } from './smtp-step.ts'

export type { Login } from './smtp-login.ts'
export type { Step } from './smtp-step.ts'

type Decision = Step | Promise<Step>

export interface SmtpScript {
  greeting?: () => Decision
  ehlo?: () => Decision
  /** Anything but undefined takes the place of "220" and the handshake. */
  starttls?: () => Decision
  /** The answer to a login whose name and secret are known; with `users` undefined checks them. */
  auth?: (login: Login) => Decision
  mail?: (from: string) => Decision
  rcpt?: (to: string, from: string) => Decision
  data?: (transaction: Transaction) => Decision
  /** Asked with every piece of the message how to go on after so many bytes; anything but undefined ends the transfer there. */
  body?: (bytes: number) => Step
  /** The answer to the final dot; `drop-after-dot` takes the message and cuts the connection. */
  dot?: (transaction: Transaction, message: string) => Decision
  rset?: () => Decision
  quit?: () => Decision
  /** Lines of the EHLO reply after the first; default PIPELINING and 8BITMIME. */
  extensions?: string[]
  tls?: SecureContextOptions
  implicit?: boolean
  users?: Readonly<Record<string, string>>
}

export interface Transaction {
  readonly from: string
  readonly to: string[]
  /** What followed the addresses, such as `SIZE=100` or `NOTIFY=NEVER`. */
  readonly parameters: { readonly mail: string; readonly rcpt: string[] }
  readonly secure: boolean
  /** Who had logged in. */
  readonly user: string | undefined
}

export interface AcceptedMessage extends Transaction {
  readonly data: string
}

export interface ScriptedServer {
  readonly port: number
  readonly messages: AcceptedMessage[]
  /** Messages that did not come after the answer to DATA, or not to their end, or were refused there. */
  readonly incomplete: number
  /** The commands that came, in order. */
  readonly commands: string[]
  readonly logins: Login[]
  readonly violations: string[]
  readonly connections: number
  /** Connections that are open now. */
  readonly open: number
  /** The script, which may be changed while the server runs. */
  script: SmtpScript
  /** Recipients of all accepted messages, sorted. */
  recipients(): string[]
  close(): Promise<void>
}

/** @param port 0 for a free one */
export async function startSmtpScript(script: SmtpScript = {}, port = 0): Promise<ScriptedServer> {
  const sockets = new Set<Socket>()
  const count = { connections: 0, incomplete: 0 }
  const listener = createServer(socket => {
    count.connections += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    const notes: Notes = {
      violation: text => void server.violations.push(text),
      incomplete: () => void count.incomplete++,
    }
    if (server.script.implicit) secure(socket, server.script, tls => converse(tls, server, notes, true))
    else converse(socket, server, notes, false)
  })
  const server: ScriptedServer = {
    port: 0,
    messages: [],
    commands: [],
    logins: [],
    violations: [],
    get connections() {
      return count.connections
    },
    get incomplete() {
      return count.incomplete
    },
    get open() {
      return sockets.size
    },
    script,
    recipients: () => server.messages.flatMap(({ to }) => to).sort(),
    close() {
      for (const socket of sockets) socket.destroy()
      return new Promise(resolve => listener.close(() => resolve()))
    },
  }
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject)
    listener.listen(port, '127.0.0.1', resolve)
  })
  const address = listener.address()
  Object.defineProperty(server, 'port', { value: typeof address === 'object' && address ? address.port : 0 })
  return server
}

interface Notes {
  violation(text: string): void
  incomplete(): void
}

/** The certificate of the tests, for localhost and 127.0.0.1, which nobody vouches for. */
const TEST_TLS: SecureContextOptions = {
  key: readFileSync(`${PROJECT}tests/support/tls/key.pem`),
  cert: readFileSync(`${PROJECT}tests/support/tls/cert.pem`),
}

function secure(socket: Socket, script: SmtpScript, ready: (socket: TLSSocket) => void): void {
  const secureContext = createSecureContext({ ...TEST_TLS, ...script.tls })
  const tls = new TLSSocket(socket, { isServer: true, secureContext })
  tls.on('error', () => undefined)
  ready(tls)
}

const DOT = Buffer.from('\r\n.\r\n')

function converse(socket: Socket, server: ScriptedServer, notes: Notes, isSecure: boolean, greeted = false): void {
  let user: string | undefined
  let transaction: Transaction | undefined
  let rest: Buffer = Buffer.alloc(0)
  /** The pieces of the message that is being read; the last bytes of what came before are in `rest`. */
  let body: Buffer[] | undefined
  let bodySize = 0
  let login: ReturnType<typeof startLogin> | undefined
  let over = false
  let handling = Promise.resolve()

  const answer = async (decision: Decision, usual: string): Promise<boolean> =>
    await perform(socket, await decision, usual)

  const command = async (line: string): Promise<void> => {
    const { script } = server
    if (login !== undefined) return await goOn(line)
    server.commands.push(line)
    checkCommand(line, notes, transaction?.parameters.mail)
    const [, address = '', parameters = ''] = /<(.*)>\s*(.*)$/.exec(line) ?? []
    switch (line.slice(0, 4).toUpperCase()) {
      case 'EHLO':
        transaction = undefined
        return void (await answer(script.ehlo?.(), ehloReply(script, isSecure)))
      case 'STAR':
        return await startTls(script)
      case 'AUTH':
        login = startLogin(line, isSecure)
        return await goOn(undefined)
      case 'MAIL': {
        const usual = script.users && user === undefined ? '530 5.7.0 login first' : '250 2.1.0 sender ok'
        if (!(await answer(script.mail?.(address), usual))) return
        transaction = { from: address, to: [], parameters: { mail: parameters, rcpt: [] }, secure: isSecure, user }
        return
      }
      case 'RCPT': {
        const decision = script.rcpt?.(address, transaction?.from ?? '')
        if (!(await answer(decision, transaction ? '250 2.1.5 recipient ok' : '503 5.5.1 MAIL first'))) return
        transaction?.to.push(address)
        transaction?.parameters.rcpt.push(parameters)
        return
      }
      case 'DATA': {
        // From the second message on; before, replies may come together, as they do from many servers.
        socket.setNoDelay(true)
        const known = transaction !== undefined && transaction.to.length > 0
        const decision = transaction && script.data?.(transaction)
        if (!(await answer(decision, known ? '354 go ahead' : '554 5.5.1 no valid recipients'))) return
        body = []
        bodySize = 0
        // As if a line had just ended, so that a message of nothing but the final dot ends as well.
        rest = Buffer.concat([Buffer.from('\r\n'), rest])
        return
      }
      case 'RSET':
        transaction = undefined
        return void (await answer(script.rset?.(), '250 2.0.0 ok'))
      case 'QUIT':
        await answer(script.quit?.(), '221 2.0.0 bye')
        return void socket.end()
      default:
        await answer(undefined, line.toUpperCase() === 'NOOP' ? '250 2.0.0 ok' : '502 5.5.2 not known')
    }
  }

  const startTls = async (script: SmtpScript): Promise<void> => {
    const step = await script.starttls?.()
    if (step !== undefined || isSecure || !offers(script, 'STARTTLS')) {
      await answer(step, '454 4.7.0 no TLS here')
      return
    }
    await answer(undefined, '220 2.0.0 go ahead')
    over = true
    socket.removeListener('data', onData)
    secure(socket, script, tls => converse(tls, server, notes, true, true))
  }

  /** One more line of a login, or its beginning. */
  const goOn = async (line: string | undefined): Promise<void> => {
    const next = login!.next(line)
    if ('challenge' in next) return void (await answer(undefined, `334 ${next.challenge}`))
    login = undefined
    if ('refused' in next) return void (await answer(undefined, next.refused))
    const { users } = server.script
    const isRight = users === undefined || next.login.matches(users[next.login.user])
    server.logins.push(next.login)
    const usual = isRight ? '235 2.7.0 welcome' : '535 5.7.8 wrong name or secret'
    if (await answer(server.script.auth?.(next.login), usual)) user = next.login.user
  }

  const message = async (wire: string): Promise<void> => {
    const data = wire.replace(/(^|\r\n)\.\./g, '$1.')
    const sent = transaction!
    checkMessage(wire, sent, notes)
    const decision = await server.script.dot?.(sent, data)
    const isDropped = decision === 'drop-after-dot'
    const isTaken =
      isDropped || decision === undefined || /^2/.test(typeof decision === 'string' ? decision : sayOf(decision))
    if (isTaken) server.messages.push({ ...sent, data })
    else notes.incomplete()
    transaction = undefined
    await answer(isDropped ? 'drop' : decision, '250 2.0.0 taken')
  }

  /** Takes the bytes of a message; false if more are needed, or the transfer is over. */
  const readBody = async (pieces: Buffer[]): Promise<boolean> => {
    const step = server.script.body?.(bodySize + rest.length)
    if (step !== undefined) {
      over = true
      await answer(step, '')
      return false
    }
    const end = rest.indexOf(DOT)
    if (end === -1) {
      const keep = Math.max(rest.length - DOT.length + 1, 0)
      pieces.push(rest.subarray(0, keep))
      bodySize += keep
      rest = rest.subarray(keep)
      return false
    }
    pieces.push(rest.subarray(0, end + 2))
    rest = rest.subarray(end + DOT.length)
    body = undefined
    await message(Buffer.concat(pieces).toString('latin1').slice(2))
    return true
  }

  const read = async (chunk: Buffer): Promise<void> => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    while (!over) {
      if (body !== undefined) {
        if (!(await readBody(body))) return
        continue
      }
      const end = rest.indexOf('\r\n')
      if (end === -1) return
      const line = rest.toString('latin1', 0, end)
      rest = rest.subarray(end + 2)
      await command(line)
    }
  }

  const onData = (chunk: Buffer): void => {
    handling = handling.then(() => read(chunk))
  }
  socket.on('data', onData)
  socket.once('close', () => {
    if (body !== undefined) notes.incomplete()
  })
  if (!greeted) void answer(server.script.greeting?.(), '220 script ESMTP')
}

function sayOf(step: Exclude<Step, string | undefined>): string {
  if ('heard' in step) return typeof step.heard === 'object' ? sayOf(step.heard) : (step.heard ?? '2')
  if ('after' in step) return typeof step.say === 'object' ? sayOf(step.say) : (step.say ?? '2')
  return 'trickle' in step ? step.trickle : ''
}

function ehloReply(script: SmtpScript, isSecure: boolean): string {
  const extensions = script.extensions ?? ['PIPELINING', '8BITMIME']
  const lines = ['script', ...extensions.filter(name => !(isSecure && name === 'STARTTLS'))]
  return lines.map((line, i) => `250${i === lines.length - 1 ? ' ' : '-'}${line}`).join('\n')
}

function offers(script: SmtpScript, extension: string): boolean {
  return (script.extensions ?? []).includes(extension)
}

/** @param parameters those of MAIL, once it was given */
function checkCommand(line: string, { violation }: Notes, parameters = ''): void {
  if (/[\r\n\0]/.test(line)) violation(`a bare CR, LF or NUL in the command ${JSON.stringify(line)}`)
  if (/[^\x20-\x7e]/.test(line) && !/SMTPUTF8/.test(line + parameters))
    violation(`a command that is not ASCII: ${JSON.stringify(line)}`)
  if (line.length > 510) violation(`a command of ${line.length} bytes`)
}

function checkMessage(wire: string, { parameters }: Transaction, { violation }: Notes): void {
  if (/\r(?!\n)|(?<!\r)\n/.test(wire)) violation('a bare CR or LF in a message')
  if (/\0/.test(wire)) violation('a NUL in a message')
  if (/(^|\r\n)\.(?!\.)/.test(wire)) violation('a dot that is not stuffed')
  if (/[^\r\n]{999}/.test(wire)) violation('a line of more than 998 bytes')
  const [header = ''] = wire.split('\r\n\r\n', 1)
  if (/[\x80-\xff]/.test(header) && !/SMTPUTF8/.test(parameters.mail)) violation('8-bit headers without SMTPUTF8')
  if (/[\x80-\xff]/.test(wire) && !/8BITMIME|SMTPUTF8/.test(parameters.mail))
    violation('8-bit text without BODY=8BITMIME')
}
