/** Reading attributes of objects that are loaded. */
import { perSecond } from '../measure.ts'
import type { Row } from '../report.ts'
import { type Attributes, addGroup, attributes, openStore } from './sample.ts'
import type { Setting } from './setting.ts'

const OBJECTS = 1000

export async function reads({ quick, newDirectory }: Setting): Promise<Row[]> {
  const [turns, rounds] = quick ? [1000, 5] : [5000, 9]
  const db = await openStore(newDirectory())
  await addGroup(db, OBJECTS)
  const connection = db.open()
  const items: readonly Attributes[] = [...connection.root.groups.get(0)!.items]
  const plain: readonly Attributes[] = items.map(({ number }) => attributes(number))

  // one function for each, so that the engine sees one kind of object in each
  const numbersOfItems = () => {
    let sum = 0
    for (let turn = 0; turn < turns; turn++) for (let i = 0; i < OBJECTS; i++) sum += items[i]!.number
    return check(sum)
  }
  const numbersOfPlain = () => {
    let sum = 0
    for (let turn = 0; turn < turns; turn++) for (let i = 0; i < OBJECTS; i++) sum += plain[i]!.number
    return check(sum)
  }
  const check = (sum: number) => {
    if (sum !== (turns * OBJECTS * (OBJECTS - 1)) / 2) throw new Error(`the numbers read add up to ${sum}`)
    return turns * OBJECTS
  }
  const tagsOfItems = () => {
    let sum = 0
    for (let turn = 0; turn < turns; turn++) for (let i = 0; i < OBJECTS; i++) sum += items[i]!.tags.length
    return sum / 2
  }
  const tagsOfPlain = () => {
    let sum = 0
    for (let turn = 0; turn < turns; turn++) for (let i = 0; i < OBJECTS; i++) sum += plain[i]!.tags.length
    return sum / 2
  }
  const numbers = await perSecond(
    [
      { name: 'ours', run: numbersOfItems },
      { name: 'plain', run: numbersOfPlain },
    ],
    rounds,
  )
  const tags = await perSecond(
    [
      { name: 'ours', run: tagsOfItems },
      { name: 'plain', run: tagsOfPlain },
    ],
    rounds,
  )
  connection.close()
  await db.close()
  const millions = (rates: Record<string, number>, name: string) => rates[name]! / 1e6
  const read = millions(numbers, 'ours')
  return [
    {
      measure: 'warm reads of a number',
      unit: 'million/s',
      ours: read,
      peers: { 'plain objects': millions(numbers, 'plain') },
      target: { of: 'million/s', value: read, atLeast: 30 },
    },
    {
      measure: 'warm reads of an inner array',
      unit: 'million/s',
      ours: millions(tags, 'ours'),
      peers: { 'plain objects': millions(tags, 'plain') },
    },
  ]
}
