/** A broker that is killed and started again while frames and requests flow. */
import { atRate, generatePayload, Rig } from './rig';

export interface RestartsOptions {
  readonly protocol: 5 | 4;
  readonly kills: number;
  readonly downMs: number;
  readonly goodRate: number;
}

export interface RestartsResult {
  readonly requests: number;
  readonly answered: number;
  /** Requests of which two answers differ: they ran twice. */
  readonly ranTwice: number;
  readonly frames: {
    readonly received: number;
    readonly captions: number;
    readonly errors: number;
    readonly skipped: number;
  };
  /** Deliveries of what had been delivered before, as QoS 1 allows. */
  readonly repeatedAnswers: number;
  readonly repeatedEvents: number;
  /** Milliseconds from a broker that listens to a daemon that is online. */
  readonly recoveryMs: readonly number[];
  /** What the daemon says of itself at the end. */
  readonly dropped: number;
  readonly waiting: number;
}

/** Subscriptions are on the broker's disk before it is killed the first time; messages need not be. */
const persistent = ['persistence true', 'persistence_location DIR/', 'autosave_interval 0', 'max_inflight_messages 0'];

export async function restarts({ protocol, kills, downMs, goodRate }: RestartsOptions): Promise<RestartsResult> {
  const rig = await Rig.open({ protocol, cameras: ['good'], broker: persistent });
  const { household, broker } = rig;
  try {
    await broker.save();
    household.client.on('connect', () => household.repeat());
    let killing = true;
    const use = async (): Promise<void> => {
      while (killing) {
        await atRate(goodRate, 1, () => {
          if (household.client.connected) household.show('good');
          household.ask('generate', generatePayload);
        });
      }
    };
    const using = use();
    const recoveryMs: number[] = [];
    for (let kill = 0; kill < kills; kill++) {
      await pause(1000);
      const heard = household.onlineHeard;
      await broker.stop();
      await pause(downMs);
      await broker.start();
      const listening = performance.now();
      await household.until(() => household.onlineHeard > heard, 'daemon that is online again');
      recoveryMs.push(performance.now() - listening);
      // Killed once more before it has handed on what it took, a broker loses what it had in memory only.
      household.repeat();
      await household.until(() => household.unanswered <= 2 * goodRate, 'answer');
    }
    killing = false;
    await using;
    household.repeat();
    await household.until(() => household.unanswered === 0, 'answer');
    const frames = await rig.account('good');
    const { mqtt } = await household.health();
    const answers = [...household.asked.values()].map(({ answers: all }) => all);
    return {
      requests: household.asked.size,
      answered: answers.filter(({ length }) => length > 0).length,
      ranTwice: answers.filter((all) => new Set(all).size > 1).length,
      frames,
      repeatedAnswers: answers.reduce((sum, { length }) => sum + Math.max(0, length - 1), 0),
      repeatedEvents: [...household.events.values()].reduce((sum, { deliveries }) => sum + deliveries - 1, 0),
      recoveryMs,
      dropped: mqtt['publishesDropped'] ?? Number.NaN,
      waiting: mqtt['outboxMessages'] ?? Number.NaN,
    };
  } finally {
    await rig.close();
  }
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
