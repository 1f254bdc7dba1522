/**
 * fast-check, as every test imports it: one seed for all runs, so that a commit holds or does not, whenever it is asked. `FC_SEED=random`
 * explores with another one at each run, and FC_SEED=N repeats what a failure has named.
 */
import fc from 'fast-check'

const SEED = 20_261_127
export const ASKED_SEED = process.env.FC_SEED ?? String(SEED)
if (ASKED_SEED !== 'random') fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(ASKED_SEED) })

export { fc }
