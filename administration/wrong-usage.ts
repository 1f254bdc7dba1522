/** What is wrong with the command line itself, whatever the database holds: the exit code is 2. */
import { ObjectError } from '../objects/index.ts'

export class WrongUsage extends ObjectError {
  constructor(message: string, options?: ErrorOptions) {
    super('INVALID_ARGUMENT', message, options)
  }
}
