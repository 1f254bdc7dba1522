/** A subtree as files and back: whatever the tree holds, nothing is lost. */
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MemoryLevel } from 'memory-level'
import t from 'tap'
import { attributesOf, decode, encode, type Json } from '../../administration/files/attributes.ts'
import { fileNameOf, folded, idOf, type Kind, kindOf } from '../../administration/files/names.ts'
import { readTree } from '../../administration/files/read-tree.ts'
import { writeTree } from '../../administration/files/write-tree.ts'
import type { Level } from '../../lib/index.ts'
import {
  exportTree,
  File,
  Folder,
  MaildropHost,
  OrderedFolder,
  openDatabase,
  Persistent,
  registerClass,
  Template,
} from '../../objects/index.ts'
import { fc } from '../support/properties.ts'

const NAMES = [
  'a',
  'A',
  'é',
  'e\u0301',
  'É',
  'CON',
  'con.txt',
  'x.hbs',
  'x.HBS',
  'x',
  'y.object',
  '.hidden',
  'dot.',
  ' b ',
  'a%41',
]
const id = fc
  .oneof(
    fc.constantFrom(
      ...NAMES,
      '100%',
      'a:b*c?"|\\',
      'constructor',
      'toString',
      'x'.repeat(250),
      'ä'.repeat(120),
      'z.partial',
    ),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 8 }),
  )
  .filter(name => /^(?!_)[^/<>&\u0000-\u001f\u007f-\u009f]+$/.test(name) && name !== '.' && name !== '..')

const scalar = fc.oneof(
  fc.string(),
  fc.boolean(),
  fc.double(),
  fc.bigInt(),
  fc.date({ noInvalidDate: false }),
  fc.uint8Array({ maxLength: 8 }),
  fc.constantFrom(null, undefined),
)
const { value } = fc.letrec(tie => ({
  value: fc.oneof(
    { maxDepth: 2 },
    scalar,
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom('$', 'value', 'a', '__proto__'), tie('value'), { maxKeys: 3, noNullPrototype: true }),
    fc.array(tie('value'), { maxLength: 3 }).map(items => new Set(items)),
    fc.array(fc.tuple(scalar, tie('value')), { maxLength: 3 }).map(pairs => new Map(pairs)),
  ),
}))
const attributes = fc.dictionary(fc.constantFrom('colour', 'number', 'title', 'list'), value, { maxKeys: 3 })

type Made = {
  readonly kind: string
  readonly text: string
  readonly attributes: Record<string, unknown>
  readonly inner: [string, Made][]
}
const { tree } = fc.letrec<{ tree: Made }>(tie => ({
  tree: fc.record({
    kind: fc.constantFrom('Template', 'File', 'Folder', 'OrderedFolder', 'MaildropHost', 'Other'),
    text: fc.string({ unit: 'grapheme' }).filter(text => !/[<{\\]/.test(text)),
    attributes,
    inner: fc.oneof(
      { maxDepth: 3, depthIdentifier: 'tree' },
      fc.constant<Made['inner']>([]),
      fc.array(fc.tuple(id, tie('tree')), { maxLength: 5 }),
    ),
  }),
}))

class Other extends Persistent {
  friend: Persistent | undefined
}
registerClass('FilesTestOther', Other)

async function build(folder: Folder, inner: Made['inner']): Promise<void> {
  for (const [name, made] of inner) {
    if (folder.has(name)) continue
    const kinds: Record<string, () => Persistent> = {
      Template: () => new Template(made.text),
      File: () => new File(),
      Folder: () => new Folder(),
      OrderedFolder: () => new OrderedFolder(),
      MaildropHost: () => new MaildropHost(),
      Other: () => new Other(),
    }
    const object = folder.add(name, kinds[made.kind]!())
    for (const [key, each] of Object.entries(made.attributes)) Reflect.set(object, key, each)
    if (object instanceof File) await object.write(made.text)
    if (object instanceof Other) object.friend = new Other()
    if (!(object instanceof Folder)) continue
    await build(object, made.inner)
    if (object instanceof OrderedFolder) object.order(object.ids().toReversed())
  }
}

/** Everything that is to come back, as JSON. */
async function described(folder: Folder): Promise<unknown> {
  const children: unknown[] = []
  for (const [name, child] of folder.entries()) {
    const content =
      child instanceof File ? (await child.bytes()).toString('hex') : child instanceof Template ? child.source : ''
    children.push([name, child.constructor.name, content, attributesOf(child) ?? (await exported(child))])
    if (child instanceof Folder) children.push(await described(child))
  }
  return [attributesOf(folder), children]
}

async function exported(object: Persistent): Promise<string> {
  const pieces: Uint8Array[] = []
  for await (const piece of exportTree(object)) pieces.push(piece)
  return Buffer.concat(pieces).toString('hex')
}

const newLevel = () => new MemoryLevel({ keyEncoding: 'buffer', valueEncoding: 'buffer' }) as unknown as Level

t.test('what is written as files and read again is the same, into another database and onto itself', async t => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(id, tree), { maxLength: 6 }), async inner => {
      const directory = await mkdtemp(join(tmpdir(), 'files-'))
      const [one, two] = [await openDatabase(newLevel()), await openDatabase(newLevel())]
      const options = { delete: true, read: () => undefined }
      try {
        const before = await one.transact(async app => {
          const top = app.add('top', new Folder())
          await build(top, inner)
          return described(top)
        })
        const connection = one.open({ readOnly: true })
        const written = await writeTree(connection.root.traverse('/top', Folder), join(directory, 'x'), {
          force: false,
          wrote: () => undefined,
        })
        connection.close()
        const names = await readdir(join(directory, 'x'), { recursive: true })
        t.equal(
          names.filter(name => !/(^|\/)\.objtree\.json$/.test(name)).length,
          written.files,
          'every file has a name of its own',
        )
        const after = await two.transact(async app => {
          await readTree(join(directory, 'x'), undefined, { parent: app, id: 'top' }, options)
          return described(app.traverse('/top', Folder))
        })
        t.same(after, before)
        const again = await one.transact(async (app, tx) => {
          const result = await readTree(join(directory, 'x'), app.traverse('/top', Folder), undefined, options)
          await tx.commit()
          return [[...result.added], [...result.changed], [...result.removed], tx.tid]
        })
        t.same(again, [[], [], [], undefined])
      } finally {
        await Promise.all([one.close(), two.close()])
        await rm(directory, { recursive: true })
      }
    }),
    { numRuns: 40 },
  )
})

t.test('a value as JSON is that value again', async t => {
  fc.assert(
    fc.property(value, each => {
      const json = encode(each, [])
      t.not(json, undefined)
      t.strictSame(decode(JSON.parse(JSON.stringify(json)) as Json), each)
    }),
  )
  for (const refused of [new Other(), [new Other()], /x/, Symbol('x'), () => 1, new Error('x'), new Float64Array(1)])
    t.equal(encode(refused, []), undefined)
  const ring: unknown[] = []
  ring.push(ring)
  t.equal(encode(ring, []), undefined)
})

t.test('names of files are safe, different on any file system, and lead back to the names of objects', async t => {
  const kinds = fc.constantFrom<Kind>('template', 'file', 'folder', 'object')
  fc.assert(
    fc.property(fc.array(fc.tuple(id, kinds), { maxLength: 20 }), pairs => {
      const taken = new Set<string>()
      const names = new Set<string>()
      for (const [name, kind] of new Map(pairs)) {
        const file = fileNameOf(name, kind, taken)
        t.notMatch(file, /[/\\:*?"|\0]|^\.|^ |[. ]$|^(con|nul|prn|aux)(\.|$)/i)
        t.ok(Buffer.byteLength(file) <= 200)
        t.notOk(names.has(folded(file)))
        names.add(folded(file))
        if (kind !== 'folder') t.equal(kindOf(file), kind)
        if (!file.includes('~')) t.equal(idOf(file, kind), name)
      }
    }),
  )
})
