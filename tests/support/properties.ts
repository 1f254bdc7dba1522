/**
 * fast-check, as every test imports it: one seed for all runs, so that a commit holds or does not, whenever it is asked. `FC_SEED=random`
 * explores with another one at each run, and FC_SEED=N repeats what a failure has named.
 */
import fc from 'fast-check'

const SEED = 20_261_127
const asked = process.env.FC_SEED ?? String(SEED)
if (asked !== 'random') fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(asked) })

export { fc }
