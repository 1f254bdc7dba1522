/**
 * Why a process of Node's ended that could not say so itself: without memory or files it has nothing left to say it with, but
 * Node and the system do, in many lines, for those who know them.
 */

/** What it printed on its standard error, and what that means to whoever started it. */
const MEANINGS: readonly (readonly [RegExp, string])[] = [
  [
    /\b(EMFILE|ENFILE)\b|too many open files/i,
    'it may open too few files; raise the limit (ulimit -n; LimitNOFILE= of a service)',
  ],
  [
    /out of memory|\bOOM\b|\bENOMEM\b|cannot allocate memory|bad_alloc|allocation failed|Failed to reserve/i,
    'it has too little memory; raise the limit (ulimit -v, --max-old-space-size of NODE_OPTIONS; MemoryMax= of a service)',
  ],
  [
    /\bEAGAIN\b|uv_thread_create|pthread_create/,
    'it may start too few processes and threads; raise the limit (ulimit -u; TasksMax= of a service)',
  ],
  [/ERR_MODULE_NOT_FOUND|Cannot find (module|package)/, 'the program is not installed completely; run npm ci'],
]

/**
 * @param complaint what it printed on its standard error
 * @returns one line
 */
export function endingOf(code: number | null, signal: NodeJS.Signals | null, complaint: string): string {
  const how = `it ended with ${signal ?? code}`
  const meaning = MEANINGS.find(([pattern]) => pattern.test(complaint))?.[1]
  if (meaning !== undefined) return `${how}: ${meaning}`
  if (signal === 'SIGKILL') return `${how}: somebody killed it, or the system, which had no memory left (see its log)`
  const lines = complaint.split('\n').map(line => line.trim())
  const said = lines.find(line => /^(\w*Error\b|FATAL|#.*\bFatal)/.test(line)) ?? lines.find(line => line !== '')
  return said === undefined ? how : `${how}: ${said}`
}
