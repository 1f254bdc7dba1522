/**
 * The blocks that build messages of several parts, inside a sendmail block (the dtml-mime analog):
 *
 *     <<#mime type="mixed">>
 *       <<#mime type="alternative">>
 *         <<#part>> … <</part>>
 *         <<#part type="text/html">> … <</part>>
 *       <</mime>>
 *       <<attach invoice filename="invoice.pdf">>
 *     <</mime>>
 *
 * A mime block is the whole body of its mail, and holds parts, attachments and mime blocks, with only blanks between them; `#if`,
 * `#each` and partials may stand around them. A part's text is read as a mail's body is: the template's own text is the
 * author's, a value is escaped where the part is HTML.
 */
import type { Block, Call, Expression } from './ast.ts'
import { type Attributes, attributeFault, attributeText, attributeWord, type Fault } from './attributes.ts'
import { type Place, TemplateError } from './errors.ts'
import { DISPOSITIONS, ENCODINGS, type Entity, MULTIPARTS } from './mail-host.ts'
import { bodyText, isBlank, splitLines, withoutIndent } from './mail-lines.ts'
import { isEmbedded, type Piece } from './output.ts'

export const MIME = 'mime'
export const PART = 'part'
export const ATTACH = 'attach'

const LEAF: Attributes = {
  type: undefined,
  disposition: DISPOSITIONS,
  filename: undefined,
  cid: undefined,
  description: undefined,
}
const ATTRIBUTES: Readonly<Record<string, Attributes>> = {
  [MIME]: { type: MULTIPARTS },
  [PART]: { ...LEAF, charset: undefined, encode: ENCODINGS, alternative: ['true', 'false'] },
  [ATTACH]: { ...LEAF, charset: undefined, encode: ENCODINGS, file: undefined },
}

/** What is wrong with a mime or part block as it is written, if anything is. */
export function checkMimeBlock(name: string, { params, hash, program, inverse, loc }: Block): Fault | undefined {
  if (inverse || !program)
    return { code: 'TEMPLATE_SYNTAX', at: { loc }, what: `${name} has no else; its block is what it holds` }
  if (params.length > 0)
    return { code: 'TEMPLATE_SYNTAX', at: params[0]!, what: `${name} takes attributes only, name=value` }
  return attributeFault(name, hash, ATTRIBUTES[name]!)
}

/** What is wrong with an attachment as it is written, if anything is. */
export function checkAttach({ params, hash, loc }: Call): Fault | undefined {
  const sources = params.length + (hash?.pairs ?? []).filter(({ key }) => key === 'file').length
  if (sources === 1) return attributeFault(ATTACH, hash, ATTRIBUTES[ATTACH]!)
  const what = `attach: expected one thing to attach, a value or file="NAME", found ${sources === 0 ? 'none' : sources}`
  return { code: 'TEMPLATE_SYNTAX', at: { loc }, what }
}

/** A file of the tree that is to be attached, by name or path. */
export class FileReference {
  readonly name: unknown
  readonly place: Place

  constructor(name: unknown, place: Place) {
    this.name = name
    this.place = place
  }
}

type Evaluate = (expression: Expression) => unknown

/** The multipart that a mime block makes of what was rendered in it. @throws {TemplateError} TEMPLATE_RENDER */
export function multipartOf({ hash }: Block, evaluate: Evaluate, pieces: readonly Piece[], place: Place): Entity {
  const type = hash?.pairs.find(({ key }) => key === 'type')
  const subtype = type ? attributeWord(evaluate(type.value), 'type', MULTIPARTS, place) : 'mixed'
  const parts: Entity[] = []
  for (const piece of pieces) {
    if (isEmbedded(piece)) parts.push(piece.entity)
    else if (typeof piece !== 'string' || piece.trim() !== '')
      throw new TemplateError(
        'TEMPLATE_RENDER',
        typeof piece === 'string' ? place : piece.place,
        `mime: only part, attach and mime may stand in it, found ${typeof piece === 'string' ? JSON.stringify(piece.trim().slice(0, 40)) : 'a value'}; put text into a part`,
      )
  }
  if (parts.length === 0) throw new TemplateError('TEMPLATE_RENDER', place, 'mime: it holds no part')
  return { kind: 'multipart', subtype, parts }
}

/** The entity that a part block makes of what was rendered in it. @throws {TemplateError} TEMPLATE_RENDER */
export function partOf(block: Block, evaluate: Evaluate, pieces: readonly Piece[], place: Place): Entity {
  const { type = 'text/plain', ...leaf } = leafOf(block, evaluate, place)
  const lines = withoutIndent(splitLines(pieces))
  if (lines.length > 1 && isBlank(lines.at(-1)!)) lines[lines.length - 1] = []
  const text = lines.map(line => line.map(piece => bodyText(piece, type, place)).join('')).join('\n')
  const part: Entity & { kind: 'text' } = { kind: 'text', type, ...leaf, text }
  for (const { key, value } of block.hash?.pairs ?? [])
    if (key === 'alternative') part.alternative = evaluate(value) === true || evaluate(value) === 'true'
  return part
}

/** The entity of an attachment. @throws {TemplateError} TEMPLATE_RENDER */
export function attachmentOf(call: Call, evaluate: Evaluate, place: Place): Entity {
  const [value] = call.params
  const file = call.hash?.pairs.find(({ key }) => key === 'file')
  const data = file ? new FileReference(evaluate(file.value), place) : value && evaluate(value)
  return { kind: 'data', ...leafOf(call, evaluate, place), data }
}

function leafOf({ hash }: Pick<Call, 'hash'>, evaluate: Evaluate, place: Place) {
  const leaf: Omit<Entity & { kind: 'data' }, 'kind' | 'data'> = {}
  for (const { key, value } of hash?.pairs ?? []) {
    const text = () => attributeText(evaluate(value), key, place)
    if (key === 'type') leaf.type = text()
    else if (key === 'filename') leaf.filename = text()
    else if (key === 'cid') leaf.contentId = text()
    else if (key === 'description') leaf.description = text()
    else if (key === 'charset') leaf.charset = text()
    else if (key === 'encode') leaf.encode = attributeWord(evaluate(value), key, ENCODINGS, place)
    else if (key === 'disposition') leaf.disposition = attributeWord(evaluate(value), key, DISPOSITIONS, place)
  }
  return leaf
}

/** The entity with each reference replaced by the file that it names. */
export function withFiles(entity: Entity, find: (reference: FileReference) => unknown): Entity {
  if (entity.kind === 'multipart') return { ...entity, parts: entity.parts.map(part => withFiles(part, find)) }
  return entity.kind === 'data' && entity.data instanceof FileReference
    ? { ...entity, data: find(entity.data) }
    : entity
}
