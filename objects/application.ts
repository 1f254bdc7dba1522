/** The root of the tree. */
import { registerClass } from '../lib/index.ts'
import { Folder } from './folder.ts'

/** The root of the tree of `openDatabase`: the folder in which everything else is. */
export class Application extends Folder {}

registerClass('Application', Application)
