/**
 * Lengths of time as people write them: `90` (seconds), `90s`, `30m`, `12h`, `5d`, `2d 12h`.
 */

/** In seconds. */
export const UNITS = { d: 86_400, h: 3600, m: 60, s: 1 } as const

/** In seconds; undefined if the text is no duration. */
export function parseDuration(text: string): number | undefined {
  if (/^\d{1,9}$/.test(text)) return Number(text)
  const parts = /^(?:(\d{1,6})d)?\s*(?:(\d{1,6})h)?\s*(?:(\d{1,6})m)?\s*(?:(\d{1,9})s)?$/.exec(text)
  if (parts === null || text.trim() === '') return undefined
  return Object.values(UNITS).reduce((sum, unit, i) => sum + Number(parts[i + 1] ?? 0) * unit, 0)
}

/** With one unit, rounded: `45s`, `12m`, `30h`, `5d`. */
export function formatDuration(seconds: number): string {
  const rest = Math.max(0, Math.round(seconds))
  if (rest < 120) return `${rest}s`
  if (rest < 7200) return `${Math.round(rest / 60)}m`
  return rest < 172_800 ? `${Math.round(rest / 3600)}h` : `${Math.round(rest / 86_400)}d`
}
