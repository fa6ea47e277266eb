/** How long things take in a cluster, all of it derived from the length of a lease. Milliseconds. */
export interface Timing {
  /** A node may act this long after it sent the last heartbeat that it heard back from the broker. */
  readonly leaseMs: number;
  readonly heartbeatMs: number;
  /** What a message may take from one node to all others, and a node from its last look at the clock to the wire. */
  readonly delayMs: number;
  /** A node that was silent for this long is gone: its lease has ended, and what it sent before has arrived. */
  readonly deadMs: number;
  /** A node that has listened for this long has heard of every other. */
  readonly settleMs: number;
  /** A node that joins others takes streams after this long. */
  readonly holdMs: number;
  /** A leader decides after this long without the bids of all, if somebody has bid. */
  readonly bidMs: number;
  /** Between two offers of a job that nobody could take. */
  readonly retryMs: number;
}

export function timingOf(leaseMs: number, holdMs: number): Timing {
  const delayMs = leaseMs / 2;
  return {
    leaseMs,
    heartbeatMs: leaseMs / 6,
    delayMs,
    deadMs: leaseMs + 2 * delayMs,
    settleMs: leaseMs + delayMs,
    holdMs,
    bidMs: Math.min(250, delayMs / 4),
    retryMs: leaseMs / 6,
  };
}
