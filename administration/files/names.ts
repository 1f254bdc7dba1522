/**
 * Names of objects as names of files, and back.
 *
 *     Template `welcome`      welcome.hbs
 *     File `logo.png`         logo.png
 *     Folder `shop`           shop/
 *     any other object `x`    x.object
 *
 * What is not safe on every file system is written as %XX of its UTF-8 bytes: % and \ : * ? " |, a dot or a blank at the beginning or the end, the
 * device names of Windows, and endings that mean something here. Where two names of a directory would be the same on a file system that
 * does not tell case or Unicode's normal forms apart, the later one is written so too. A name that would be too long is cut; the sidecar
 * (sidecar.ts) knows the whole.
 */
import { createHash } from 'node:crypto'

export type Kind = 'template' | 'file' | 'folder' | 'object'

const ENDINGS: Readonly<Record<Kind, string>> = { template: '.hbs', file: '', folder: '', object: '.object' }
const DEVICES = /^(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)/i
/** Bytes; file systems take 255. */
const MOST = 200

/** @param taken the names, as `folded` gives them, that others in the directory have; the new one is added */
export function fileNameOf(id: string, kind: Kind, taken: Set<string>): string {
  const plain = named(encoded(id), kind)
  const chosen = [plain, named(encodedWholly(id), kind), cut(id, kind)].find(
    name => Buffer.byteLength(name) <= MOST && !taken.has(folded(name)),
  )
  if (chosen === undefined) throw new Error(`no name for ${JSON.stringify(id)}`)
  taken.add(folded(chosen))
  return chosen
}

/** The object's name that a file's name stands for where no sidecar tells. */
export function idOf(fileName: string, kind: Kind): string {
  const base = fileName.slice(0, fileName.length - ENDINGS[kind].length)
  return base.replace(/(%[0-9A-Fa-f]{2})+/g, run => {
    const bytes = Buffer.from(run.replaceAll('%', ''), 'hex')
    const text = bytes.toString('utf8')
    return Buffer.from(text).equals(bytes) ? text : run
  })
}

/** What a file (not a directory) of that name holds. */
export function kindOf(fileName: string): Kind {
  return fileName.endsWith(ENDINGS.template) ? 'template' : fileName.endsWith(ENDINGS.object) ? 'object' : 'file'
}

/** What file systems may take for the same name is the same here. */
export const folded = (name: string): string => name.normalize('NFC').toLowerCase().normalize('NFC')

function named(base: string, kind: Kind): string {
  const name = base + ENDINGS[kind]
  return ENDINGS[kind] === '' ? name.replace(/\.(hbs|object)$/i, (_, ending) => `%2E${ending}`) : name
}

function encoded(id: string): string {
  return id
    .replace(/[%\\:*?"|]/g, hex)
    .replace(/^[. ]|[. ]$/g, hex)
    .replace(DEVICES, device => hex(device[0] as string) + device.slice(1))
}

/** Nothing is left that could be folded. */
function encodedWholly(id: string): string {
  return id.replace(/[^a-z0-9-]/gu, hex)
}

function cut(id: string, kind: Kind): string {
  const start = encodedWholly(id)
    .slice(0, 100)
    .replace(/%[0-9A-F]?$/, '')
  return named(`${start}~${createHash('sha256').update(id).digest('hex').slice(0, 32)}`, kind)
}

function hex(text: string): string {
  return Array.from(Buffer.from(text), byte => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('')
}
