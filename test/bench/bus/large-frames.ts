/** Frames as large as they may be, one after the other. */
import { Rig } from './rig';

export interface LargeFramesOptions {
  readonly protocol: 5 | 4;
  readonly seconds: number;
  readonly rate: number;
}

export interface LargeFramesResult {
  readonly sent: number;
  readonly frames: {
    readonly received: number;
    readonly captions: number;
    readonly errors: number;
    readonly skipped: number;
  };
  /** What arrived in the daemon, in bytes and from the first frame to the last. */
  readonly bytes: number;
  readonly seconds: number;
  /** A frame of one byte more than is allowed, and why it was not used. */
  readonly tooLarge: number;
  readonly rssBytes: readonly [number, number, number];
}

const frameBytes = 2 << 20;

export async function largeFrames({ protocol, seconds, rate }: LargeFramesOptions): Promise<LargeFramesResult> {
  // Without a bound of its own the broker keeps for a slow reader what it cannot hand on.
  const rig = await Rig.open({ protocol, cameras: ['large'] });
  const { household } = rig;
  try {
    const { streams } = await household.health();
    const earlier = streams['large']?.received ?? 0;
    const before = rig.rssBytes;
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, rig.rssBytes)), 50);
    const started = performance.now();
    const total = Math.round(rate * seconds);
    for (let sent = 0; sent < total; sent++) {
      household.show('large', frameBytes);
      await household.until(() => household.client.stream.writableLength === 0, 'room in the socket');
      const due = started + ((sent + 1) * 1000) / rate;
      if (due > performance.now()) await new Promise((resolve) => setTimeout(resolve, due - performance.now()));
    }
    await household.until(() => household.client.stream.writableLength === 0, 'room in the socket');
    const received = (await rig.received(['large'], earlier + total)) - earlier;
    const arrived = performance.now();
    clearInterval(watch);
    household.show('large', frameBytes + 1);
    await household.until(() => household.eventsOf('large', 'skipped').some(isTooLarge), 'word of the frame too large');
    return {
      sent: total + 1,
      frames: await rig.account('large'),
      bytes: received * frameBytes,
      seconds: (arrived - started) / 1000,
      tooLarge: household.eventsOf('large', 'skipped').filter(isTooLarge).length,
      rssBytes: [before, peak, rig.rssBytes],
    };
  } finally {
    await rig.close();
  }
}

function isTooLarge({ event }: { readonly event: { readonly reason?: string } }): boolean {
  return event.reason === 'too-large';
}
