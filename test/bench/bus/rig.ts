/** A real Mosquitto, the real daemon with the model of the demonstration, and a household that uses it. */
import { readFileSync } from 'node:fs';
import { type Hearthd, startHearthd } from '../../helpers/hearthd';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer } from '../../helpers/mqtt-peer';
import { type Health, Household } from './household';

export interface RigOptions {
  readonly protocol: 5 | 4;
  /** Lines of the broker's configuration. */
  readonly broker?: readonly string[];
  /** Streams whose every frame is looked at. */
  readonly cameras: readonly string[];
}

/** Where every frame of a stream has gone. */
export interface Account {
  readonly received: number;
  readonly captions: number;
  readonly errors: number;
  readonly skipped: number;
}

export class Rig {
  private constructor(
    readonly broker: Mosquitto,
    readonly daemon: Hearthd,
    readonly household: Household,
  ) {}

  static async open({ protocol, broker: lines = [], cameras }: RigOptions): Promise<Rig> {
    const broker = await startMosquitto(['set_tcp_nodelay true', ...lines]);
    const peer = await connectPeer(broker.url, ['hearth/pi5/#'], { protocolVersion: protocol });
    const camera = { kind: 'camera', minIntervalMs: 0, duplicateThreshold: 0, deadlineMs: 600_000 };
    const daemon = await startHearthd(broker.url, peer, {
      mqtt: { url: broker.url, protocol, reconnectMaxSeconds: 2 },
      governor: { enabled: false },
      queue: { capacity: 256 },
      streams: Object.fromEntries(cameras.map((name) => [name, camera])),
    });
    await peer.close();
    const household = await Household.move(broker.url, protocol);
    // The first of everything takes longer: what it loads stays loaded.
    for (const stream of cameras) household.show(stream);
    household.ask('generate', generatePayload);
    const rig = new Rig(broker, daemon, household);
    for (const stream of cameras) await rig.account(stream);
    await household.until(() => household.unanswered === 0, 'answer');
    return rig;
  }

  /** Bytes of memory the daemon has now; its runner is a process of its own. */
  get rssBytes(): number {
    const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.daemon.pid}/status`, 'utf8'))?.[1];
    return Number(kib) * 1024;
  }

  /** Resolves once so many frames of the streams have come in, or no more do: a broker may drop what it cannot hand on. */
  async received(streams: readonly string[], expected: number): Promise<number> {
    let most = -1;
    for (let quiet = 0; most < expected && quiet < 50; quiet++) {
      const health = await this.household.health();
      const now = streams.reduce((sum, stream) => sum + (health.streams[stream]?.received ?? 0), 0);
      if (now > most) quiet = 0;
      most = Math.max(most, now);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return most;
  }

  /** Resolves once every frame of the stream has come to its end, and what each came to has been heard. */
  async account(stream: string): Promise<Account> {
    const { household } = this;
    let said: Account | undefined;
    for (let attempt = 0; attempt < 600; attempt++) {
      said = this.#accountOf(stream, await household.health());
      if (said.received === said.captions + said.errors + said.skipped) return said;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`${stream}: not every frame has come to an end: ${JSON.stringify(said)}`);
  }

  async close(): Promise<void> {
    await this.household.leave();
    await this.daemon.stop();
    await this.broker.stop();
  }

  #accountOf(stream: string, { streams }: Health): Account {
    const { received = 0, skipped = {} } = streams[stream] ?? {};
    return {
      received,
      captions: this.household.eventsOf(stream, 'caption').length,
      errors: this.household.eventsOf(stream, 'error').length,
      skipped: Object.values(skipped).reduce((sum, count) => sum + count, 0),
    };
  }
}

export const generatePayload = { prompt: 'Hello', maxTokens: 4, temperature: 0 };

/** Calls `act` so many times a second, evenly, for so long; what could not be done in time is made up for. */
export async function atRate(perSecond: number, seconds: number, act: (index: number) => void): Promise<number> {
  const total = Math.round(perSecond * seconds);
  const started = performance.now();
  let done = 0;
  while (done < total) {
    const due = Math.min(total, Math.floor(((performance.now() - started) / 1000) * perSecond) + 1);
    while (done < due) act(done++);
    await new Promise((resolve) => setTimeout(resolve, Math.min(1000 / perSecond, 10)));
  }
  return done;
}
