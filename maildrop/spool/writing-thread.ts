/**
 * Threads that write mail into the spool, with calls that wait.
 *
 * What waits for the disk there holds up neither the event loop nor a commit, which needs one of the four threads of Node's pool. A process has
 * two, each begun when it is first needed; they keep no process alive that has nothing to publish. Should one end, what
 * it was asked for fails, and the next request begins another: every step may be repeated.
 */
import { Worker } from 'node:worker_threads'
import { MaildropError } from '../errors.ts'
import { hasSpoolListeners, type SpoolStep, type StepMessage, spoolStep } from '../steps.ts'

/**
 * Text, so that it is the same thread from the sources, from the build and from a bundle.
 *
 * All files are written before the first is synced, which leaves the later syncs less to do. While somebody listens to the steps, it waits at
 * each until that has been heard.
 */
const THREAD = `
const { closeSync, fsyncSync, openSync, renameSync, statSync, unlinkSync, writeSync } = require('node:fs')
const { parentPort, workerData: heard } = require('node:worker_threads')

let told = false
const passed = (step, id) => {
  if (!told) return
  const before = Atomics.load(heard, 0)
  parentPort.postMessage({ step, id })
  Atomics.wait(heard, 0, before)
}

const wipe = path => {
  try {
    unlinkSync(path)
  } catch {}
}

const write = (path, bytes) => {
  const file = openSync(path, 'w', 0o600)
  try {
    for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at)
    return file
  } catch (error) {
    closeSync(file)
    wipe(path)
    throw error
  }
}

const finish = (path, file) => {
  try {
    fsyncSync(file)
  } catch (error) {
    wipe(path)
    throw error
  } finally {
    closeSync(file)
  }
}

const syncDirectory = path => {
  const directory = openSync(path, 'r')
  try {
    fsyncSync(directory)
  } finally {
    closeSync(directory)
  }
}

const publish = (held, id, path) => {
  try {
    renameSync(held + id, path)
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
    // it has been published before, if the directory is there
    statSync(held)
    return
  }
  passed('released', id)
}

const work = {
  hold({ held, ids, ends, bytes }, each) {
    const files = new Map()
    const written = each(ids, (id, i) => files.set(id, write(held + id, bytes.subarray(ends[i - 1] ?? 0, ends[i]))))
    each(written, id => {
      finish(held + id, files.get(id))
      passed('held-written', id)
    })
    syncDirectory(held)
    passed('held-synced', '')
  },
  release({ held, spool, ids }, each) {
    each(ids, id => publish(held, id, spool + id))
    syncDirectory(spool)
    passed('spool-synced', '')
  },
}

parentPort.on('message', request => {
  const failures = []
  const failed = (id, { code, message }) => failures.push({ id, code, message })
  const each = (ids, step) =>
    ids.filter((id, i) => {
      try {
        step(id, i)
        return true
      } catch (error) {
        failed(id, error)
        return false
      }
    })
  told = request.told
  try {
    work[request.work](request, each)
  } catch (error) {
    failed(undefined, error)
  }
  parentPort.postMessage({ failures })
})
`

/** A step for many mails of one spool. */
export interface Request {
  readonly work: 'hold' | 'release'
  /** The directories, with a slash at the end. */
  readonly held: string
  readonly spool: string
  readonly ids: readonly string[]
  /** Of each mail, where it ends in `bytes`, which is handed over. */
  readonly ends?: readonly number[]
  readonly bytes?: Uint8Array<ArrayBuffer>
}

/** What went wrong with one of the mails; without an id, with what concerns all of them. */
export interface Failure {
  readonly id: string | undefined
  /** The system's, such as `ENOSPC`. */
  readonly code: string | undefined
  readonly message: string
}

type Answer = { readonly failures: readonly Failure[] } | StepMessage<SpoolStep>

interface Asked {
  resolve(failures: readonly Failure[]): void
  reject(error: unknown): void
}

interface Thread {
  readonly worker: Worker
  /** In the order in which it answers. */
  readonly asked: Asked[]
}

const threads: (Thread | undefined)[] = []

/** Asks the first thread, or the second. @returns what went wrong; nothing if all is done. @throws {MaildropError} SPOOL_FAILED if the thread ended */
export function askThread(request: Request, lane: 0 | 1): Promise<readonly Failure[]> {
  return new Promise((resolve, reject) => {
    threads[lane] ??= begin(lane)
    const { worker, asked } = threads[lane]
    worker.ref()
    asked.push({ resolve, reject })
    const transfer = request.bytes === undefined ? [] : [request.bytes.buffer]
    worker.postMessage({ ...request, told: hasSpoolListeners() }, transfer)
  })
}

function begin(lane: 0 | 1): Thread {
  const heard = new Int32Array(new SharedArrayBuffer(4))
  const worker = new Worker(THREAD, { eval: true, execArgv: [], workerData: heard })
  const begun: Thread = { worker, asked: [] }
  worker.on('message', (answer: Answer) => {
    if ('failures' in answer) begun.asked.shift()?.resolve(answer.failures)
    else {
      spoolStep(answer.step, answer.id)
      Atomics.add(heard, 0, 1)
      Atomics.notify(heard, 0)
    }
    if (begun.asked.length === 0) worker.unref()
  })
  const end = (cause: unknown) => {
    if (threads[lane] === begun) threads[lane] = undefined
    const error = new MaildropError(
      'SPOOL_FAILED',
      'the thread that writes into the spool has ended; it is begun again',
      {
        cause,
      },
    )
    for (const { reject } of begun.asked.splice(0)) reject(error)
  }
  worker.on('error', end)
  worker.on('exit', end)
  return begun
}
