/** Bad payloads by the thousand while good frames and requests flow. */
import { connectAsync } from 'mqtt';
import { atRate, generatePayload, Rig } from './rig';

export interface FloodOptions {
  readonly protocol: 5 | 4;
  readonly seconds: number;
  readonly badRate: number;
  readonly goodRate: number;
}

export interface FloodResult {
  readonly sent: number;
  /** Of what was sent: messages the daemon counted on the streams they were for. */
  readonly received: number;
  /** Of those, the ones that are in its counts of skipped inputs. */
  readonly skipped: number;
  readonly badRequests: { readonly sent: number; readonly answered: number };
  /** Good frames of both halves, and what they came to. */
  readonly good: {
    readonly received: number;
    readonly captions: number;
    readonly errors: number;
    readonly skipped: number;
  };
  readonly requests: { readonly sent: number; readonly answered: number };
  /** Milliseconds, without and with the flood. */
  readonly captionMs: readonly [readonly number[], readonly number[]];
  readonly answerMs: readonly [readonly number[], readonly number[]];
  /** Before the flood, the most during it, and after it. */
  readonly rssBytes: readonly [number, number, number];
}

const bad = ['bad-1', 'bad-2', 'bad-3'] as const;

/** One of each way to be no frame; the picture is cut off, changed or made to say that it is enormous. */
function badPayloads(picture: Buffer): Buffer[] {
  const changed = Buffer.from(picture);
  changed.fill(0xa5, 60, 120);
  const enormous = Buffer.from(picture);
  enormous.writeUInt32BE(60_000, 16);
  enormous.writeUInt32BE(60_000, 20);
  return [
    Buffer.alloc(0),
    Buffer.from('no picture at all'),
    Buffer.alloc(4096, 0xff),
    Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe0]), Buffer.alloc(2000, 7)]),
    picture.subarray(0, picture.length >> 1),
    changed,
    enormous,
    Buffer.from('{"image":'),
    Buffer.from('{"image":"@@@@"}'),
    Buffer.from(`{"a":${'['.repeat(2000)}${']'.repeat(2000)}}`),
    Buffer.from('data:image/png;base64,AAAA'),
    Buffer.from('RIFF\x10\0\0\0WEBPVP8 \xff\xff\xff\xff', 'latin1'),
  ];
}

const badRequests = ['{', '[]', '"x"', '{"id":7}', Buffer.from([0xff, 0x00])] as const;

export async function flood({ protocol, seconds, badRate, goodRate }: FloodOptions): Promise<FloodResult> {
  // A broker that drops frames by itself, on a machine with much else to do, is not what is looked at.
  const rig = await Rig.open({ protocol, cameras: ['good'], broker: ['max_queued_messages 0'] });
  const { household } = rig;
  const sender = await connectAsync(rig.broker.url, { protocolVersion: protocol });
  let refusals = 0;
  await sender.subscribeAsync('hearth/pi5/response/caption', { qos: 1 });
  sender.on('message', (_topic, payload) => (refusals += payload.includes('REQUEST_BAD_JSON') ? 1 : 0));
  try {
    const useIt = async (): Promise<void> => {
      await atRate(goodRate, seconds, () => {
        household.show('good');
        household.ask('generate', generatePayload);
      });
      await household.until(() => household.unanswered === 0, 'answer');
      await rig.account('good');
    };
    await useIt();
    const captionsWithout = household.captionMs('good');
    const answersWithout = household.answerMs('generate');
    const before = rig.rssBytes;
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, rig.rssBytes)), 100);
    const payloads = badPayloads(household.frame());
    let requests = 0;
    const [sent] = await Promise.all([
      atRate(badRate, seconds, (i) => {
        const payload = payloads[i % payloads.length] ?? '';
        sender.publish(`hearth/in/${bad[i % bad.length]}/frame`, payload);
        if (i % 100 === 0) {
          const request = badRequests[requests++ % badRequests.length] ?? '';
          sender.publish('hearth/pi5/request/caption', request, { qos: 1 });
        }
      }),
      useIt(),
    ]);
    await household.until(() => refusals >= requests, 'refusal of every bad request');
    await rig.received(bad, sent);
    const accounts = [];
    for (const stream of bad) accounts.push(await rig.account(stream));
    clearInterval(watch);
    const health = await household.health();
    const good = await rig.account('good');
    return {
      sent,
      received: sum(accounts.map(({ received }) => received)),
      skipped: sum(bad.flatMap((stream) => Object.values(health.streams[stream]?.skipped ?? {}))),
      badRequests: { sent: requests, answered: refusals },
      good,
      requests: { sent: household.asked.size, answered: household.asked.size - household.unanswered },
      captionMs: [captionsWithout, household.captionMs('good').slice(captionsWithout.length)],
      answerMs: [answersWithout, household.answerMs('generate').slice(answersWithout.length)],
      rssBytes: [before, peak, rig.rssBytes],
    };
  } finally {
    await sender.endAsync(true);
    await rig.close();
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
