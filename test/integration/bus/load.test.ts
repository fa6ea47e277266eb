/** What `bench bus` measures, in a few seconds each and with a look at the counts alone: the real daemon, a real broker. */
import { flood } from '../../bench/bus/flood';
import { largeFrames } from '../../bench/bus/large-frames';
import { restarts } from '../../bench/bus/restarts';
import { slowConsumer } from '../../bench/bus/slow-consumer';

jest.setTimeout(300_000);

describe.each([5, 4] as const)('MQTT version %i', (protocol) => {
  test('bad payloads by the thousand are each accounted for, and cost no good frame or request', async () => {
    const result = await flood({ protocol, seconds: 2, badRate: 1000, goodRate: 2 });
    expect([result.sent, result.received, result.skipped]).toEqual([2000, 2000, 2000]);
    expect(result.badRequests).toEqual({ sent: 20, answered: 20 });
    expect(result.good).toMatchObject({ errors: 0, skipped: 0, captions: result.good.received });
    expect(result.requests.answered).toBe(result.requests.sent);
    // The flood is 5 MB; what is kept of it is nothing.
    expect(result.rssBytes[1] - result.rssBytes[0]).toBeLessThan(100e6);
  });

  test('over a broker that is killed under load every request runs once, and every frame and request gets its result', async () => {
    const result = await restarts({ protocol, kills: 2, downMs: 300, goodRate: 3 });
    expect(result.requests).toBeGreaterThan(6);
    expect([result.answered, result.ranTwice]).toEqual([result.requests, 0]);
    expect(result.frames).toMatchObject({ errors: 0, captions: result.frames.received - result.frames.skipped });
    expect(result.frames.captions).toBeGreaterThan(1);
    expect([result.recoveryMs.length, result.dropped, result.waiting]).toEqual([2, 0, 0]);
  });

  test('a consumer that does not read costs the others nothing', async () => {
    const result = await slowConsumer({ protocol, seconds: 2, rate: 100 });
    expect(result.asked).toBeGreaterThan(400);
    expect([result.answered, result.dropped]).toEqual([result.asked, 0]);
    expect(result.late).toBe(201);
    expect(result.rssBytes[1] - result.rssBytes[0]).toBeLessThan(100e6);
  });

  test('frames of 2 MiB are taken one after the other, and one byte more is too large', async () => {
    const result = await largeFrames({ protocol, seconds: 2, rate: 10 });
    expect([result.sent, result.tooLarge]).toEqual([21, 1]);
    // One to warm up, and the one that is too large.
    expect(result.frames).toMatchObject({ received: 22, errors: 0 });
    expect(result.frames.captions + result.frames.skipped).toBe(22);
    expect(result.bytes).toBe(20 * (2 << 20));
    // 40 MiB came in.
    expect(result.rssBytes[1] - result.rssBytes[0]).toBeLessThan(200e6);
  });
});
