/** Milliseconds that messages in transfer get to finish when the daemon stops. */
export const STOP_GRACE = 20_000
