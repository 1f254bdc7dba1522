/** Programs that do not know a class: what `registerClass` did is taken back. */
import { byClass, byName } from '../../lib/registry.ts'

/** Takes a class out again, by its name; its records then load as Broken. */
export function unregisterClass(name: string): void {
  const entry = byName.get(name)
  if (entry === undefined) return
  byClass.delete(entry.ctor)
  for (const [each, { ctor }] of byName) if (ctor === entry.ctor) byName.delete(each)
}
