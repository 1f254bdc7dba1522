/**
 * An SMTP server that follows a script: for every stage of the dialogue a reply, a fault, or what a function decides.
 *
 *     const server = await startSmtpScript({ rcpt: address => address.startsWith('no') ? '550 5.1.1 no such user' : '250 ok' })
 *     server.port … server.messages … await server.close()
 *
 * A step is a reply (its lines without CRLF), `drop` (the connection is cut), `hang` (no answer), or undefined for what a
 * well-behaved server says. `messages` holds what was accepted, as it came over the wire with dots unstuffed; a message
 * counts as accepted when its final dot has been read and the script's answer is positive or `drop-after-dot`.
 */
import { createServer, type Socket } from 'node:net'

export type Step = string | 'drop' | 'hang' | undefined

export interface SmtpScript {
  greeting?: () => Step
  ehlo?: () => Step
  mail?: (from: string) => Step
  rcpt?: (to: string, from: string) => Step
  data?: (transaction: Transaction) => Step
  /** Asked with every piece of the message; anything but undefined ends the transfer there. */
  body?: (soFar: string) => Step
  /** The answer to the final dot; `drop-after-dot` takes the message and cuts the connection. */
  dot?: (transaction: Transaction, message: string) => Step | 'drop-after-dot' | Promise<Step>
  /** Lines of the EHLO reply after the first; default PIPELINING and 8BITMIME. */
  extensions?: string[]
}

export interface Transaction {
  readonly from: string
  readonly to: string[]
}

export interface AcceptedMessage extends Transaction {
  readonly data: string
}

export interface ScriptedServer {
  readonly port: number
  readonly messages: AcceptedMessage[]
  /** The commands that came, in order. */
  readonly commands: string[]
  readonly connections: number
  /** The script, which may be changed while the server runs. */
  script: SmtpScript
  /** Recipients of all accepted messages, sorted. */
  recipients(): string[]
  close(): Promise<void>
}

/** @param port 0 for a free one */
export async function startSmtpScript(script: SmtpScript = {}, port = 0): Promise<ScriptedServer> {
  const sockets = new Set<Socket>()
  let connections = 0
  const listener = createServer(socket => {
    connections += 1
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.delete(socket))
    converse(socket, server)
  })
  const server: ScriptedServer = {
    port: 0,
    messages: [],
    commands: [],
    get connections() {
      return connections
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
  return Object.assign(server, { port: typeof address === 'object' && address ? address.port : 0 })
}

function converse(socket: Socket, server: ScriptedServer): void {
  let transaction: Transaction = { from: '', to: [] }
  let rest = ''
  let inData = false
  let handling = Promise.resolve()

  /** Answers; false if the conversation is over or stuck. */
  const answer = (step: Step, usual: string): boolean => {
    if (step === 'hang') return false
    if (step === 'drop') {
      socket.destroy()
      return false
    }
    const reply = step ?? usual
    socket.write(`${reply.replace(/\n/g, '\r\n')}\r\n`)
    if (reply.startsWith('421')) socket.end()
    return /^[23]/.test(reply)
  }

  const command = (line: string): void => {
    const { script } = server
    server.commands.push(line)
    const verb = line.slice(0, 4).toUpperCase()
    const address = /<(.*)>/.exec(line)?.[1] ?? ''
    if (verb === 'EHLO') answer(script.ehlo?.(), ehloReply(script.extensions ?? ['PIPELINING', '8BITMIME']))
    else if (verb === 'MAIL') {
      if (answer(script.mail?.(address), '250 2.1.0 sender ok')) transaction = { from: address, to: [] }
    } else if (verb === 'RCPT') {
      if (answer(script.rcpt?.(address, transaction.from), '250 2.1.5 recipient ok')) transaction.to.push(address)
    } else if (verb === 'DATA') {
      const usual = transaction.to.length > 0 ? '354 go ahead' : '554 5.5.1 no valid recipients'
      inData = answer(script.data?.(transaction), usual)
    } else if (verb === 'QUIT') {
      answer(undefined, '221 2.0.0 bye')
      socket.end()
    } else answer(undefined, verb === 'RSET' || verb === 'NOOP' ? '250 2.0.0 ok' : '502 5.5.2 not known')
  }

  const message = async (wire: string): Promise<void> => {
    const data = wire.replace(/(^|\r\n)\.\./g, '$1.')
    const step = await server.script.dot?.(transaction, data)
    const taken = step === undefined || step === 'drop-after-dot' || step.startsWith('2')
    if (taken) server.messages.push({ ...transaction, data })
    answer(step === 'drop-after-dot' ? 'drop' : step, '250 2.0.0 taken')
    transaction = { from: '', to: [] }
  }

  const read = async (chunk: string): Promise<void> => {
    rest += chunk
    for (;;) {
      if (inData) {
        const step = server.script.body?.(rest)
        if (step !== undefined) return void answer(step, '')
        const end = rest.startsWith('.\r\n') ? 0 : rest.indexOf('\r\n.\r\n')
        if (end === -1) return
        const skip = end === 0 && rest.startsWith('.\r\n') ? 3 : 5
        const wire = skip === 3 ? '' : rest.slice(0, end + 2)
        rest = rest.slice(end + skip)
        inData = false
        await message(wire)
      } else {
        const end = rest.indexOf('\r\n')
        if (end === -1) return
        const line = rest.slice(0, end)
        rest = rest.slice(end + 2)
        command(line)
      }
    }
  }

  answer(server.script.greeting?.(), '220 script ESMTP')
  socket.setEncoding('latin1')
  socket.on('data', (chunk: string) => {
    handling = handling.then(() => read(chunk))
  })
}

function ehloReply(extensions: string[]): string {
  const lines = ['script', ...extensions]
  return lines.map((line, i) => `250${i === lines.length - 1 ? ' ' : '-'}${line}`).join('\n')
}
