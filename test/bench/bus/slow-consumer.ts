/** A subscriber that stops reading, beside one that reads. */
import { once } from 'node:events';
import { connectAsync } from 'mqtt';
import { atRate, Rig } from './rig';

export interface SlowConsumerOptions {
  readonly protocol: 5 | 4;
  readonly seconds: number;
  readonly rate: number;
}

export interface SlowConsumerResult {
  readonly asked: number;
  /** Answers the consumer that reads has got. */
  readonly answered: number;
  /** Different answers the other one has got, once it read again. */
  readonly late: number;
  /** Milliseconds, before and while one does not read. */
  readonly answerMs: readonly [readonly number[], readonly number[]];
  readonly rssBytes: readonly [number, number];
  readonly dropped: number;
}

/** As little work as a request can be: what is measured is the way. */
const verb = 'cancel';
const payload = { request: 'nobody' };

export async function slowConsumer({ protocol, seconds, rate }: SlowConsumerOptions): Promise<SlowConsumerResult> {
  const rig = await Rig.open({ protocol, cameras: [] });
  const { household, broker } = rig;
  const slow = await connectAsync(broker.url, { protocolVersion: protocol, keepalive: 600 });
  try {
    const ask = async (): Promise<void> => {
      await atRate(rate, seconds, () => household.ask(verb, payload));
      await household.until(() => household.unanswered === 0, 'answer');
    };
    await ask();
    const without = household.answerMs(verb);
    await slow.subscribeAsync(`hearth/pi5/response/${verb}`, { qos: 1 });
    const late: number[] = [];
    slow.on('message', (_topic, answer) => late.push(Number(/^\{"id":"q(\d+)"/.exec(answer.toString())?.[1])));
    slow.stream.pause();
    const before = rig.rssBytes;
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, rig.rssBytes)), 100);
    await ask();
    clearInterval(watch);
    slow.stream.resume();
    // What the broker has kept for it comes before what is said now.
    const last = household.ask(verb, payload);
    await household.until(() => late.includes(Number(last.slice(1))) || !slow.connected, 'answer for the slow one');
    const { mqtt } = await household.health();
    return {
      asked: household.asked.size,
      answered: household.asked.size - household.unanswered,
      late: new Set(late).size,
      answerMs: [without, household.answerMs(verb).slice(without.length)],
      rssBytes: [before, peak],
      dropped: mqtt['publishesDropped'] ?? Number.NaN,
    };
  } finally {
    const closed = once(slow.stream, 'close');
    slow.end(true);
    slow.stream.destroy();
    await closed;
    await rig.close();
  }
}
