/** The root of the tree. */
import { registerClass } from '../lib/index.ts'
import { Folder } from './folder.ts'

export class Application extends Folder {}

registerClass('Application', Application)
