import pino from 'pino';
import { BehaviorSubject } from 'rxjs';
import type { StreamEvent } from '../../../daemon/events';
import type { Health } from '../../../daemon/health/health';
import type { ModelUpdateState } from '../../../daemon/models/model-update';
import { WebPage, type WebPageOptions } from '../../../daemon/web/web-page';

const health = {
  ts: 1,
  uptime_s: 2,
  memory: { daemon_rss_bytes: 10, runner_rss_bytes: 20 },
  queue: { depth: 0, running: 1 },
  slice: 'full',
  image_size: 256,
  governor: { level: 0, why: 'nothing speaks against it' },
  soc_temperature_c: null,
  throttled: { now: ['under-voltage'], sinceBoot: [] },
  tokens_per_second: 0,
} as unknown as Health;

const pageWith = (options: Partial<WebPageOptions> = {}): WebPage =>
  new WebPage({
    node: 'pi5',
    health: async () => await Promise.resolve(health),
    brokerConnected: () => true,
    engine: () => ({ phase: 'loading', fraction: 0.417 }),
    streams: () => ({}),
    configured: { front_door: { kind: 'camera' } },
    plugins: () => [],
    restartPlugin: () => Promise.reject(new Error('none')),
    showPicture: () => false,
    latestFrame: () => undefined,
    log: pino({ level: 'silent' }),
    ...options,
  });

const event = (fields: Partial<StreamEvent>): StreamEvent => ({
  v: 1,
  id: 'a',
  kind: 'caption',
  node: 'pi5',
  stream: 'front_door',
  ts: 2,
  captured_ts: 1,
  latency_ms: 1000,
  ...fields,
});

/** What a page that watches is told until nothing is left to tell. */
async function told(page: WebPage): Promise<string> {
  const abort = new AbortController();
  const pieces = page.feed.follow(page.feed.lastId, abort.signal);
  await pieces.next();
  const { value } = await pieces.next();
  abort.abort();
  await pieces.next();
  return value ?? '';
}

test('before anything has happened, configured streams are there and the model says how far it is', async () => {
  expect(await pageWith().snapshot()).toMatchObject({
    node: 'pi5',
    engine: { phase: 'loading', loaded: 0.41, model: null },
    update: null,
    status: {
      broker: 'connected',
      memory_bytes: 30,
      throttled: ['under-voltage'],
      streams: [{ name: 'front_door', kind: 'camera', received: 0, seen: false, picture: false }],
    },
    events: [],
  });
});

test('how far a download is goes to those who watch and to those who come later', async () => {
  const state: ModelUpdateState = {
    installed_version: '1',
    latest_version: '2',
    title: 'Gemma 3n E2B',
    source: 'e2b',
    in_progress: true,
    update_percentage: 41,
    phase: 'downloading',
    received_bytes: 41,
    total_bytes: 100,
    error: null,
  };
  const change$ = new BehaviorSubject<ModelUpdateState>({ ...state, update_percentage: 40 });
  const page = pageWith({ updates: { change$ } });
  change$.next(state);
  expect(await page.snapshot()).toMatchObject({ update: state });
  expect(await told(page)).toContain(`event: update\ndata: ${JSON.stringify(state)}`);
});

test('skips are counted and not told one by one', async () => {
  const page = pageWith();
  page.note({ type: 'event', event: event({ kind: 'skipped', reason: 'duplicate', count: 3 }) });
  page.note({ type: 'event', event: event({ text: 'A tree.' }) });
  expect(await page.snapshot()).toMatchObject({ events: [{ kind: 'caption', text: 'A tree.' }] });
});

test('a text that is being written gives way to the result', async () => {
  const page = pageWith();
  page.note({ type: 'partial', stream: 'front_door', partial: { id: 'a', seq: 0, text: 'A tr' } });
  expect(await told(page)).toContain('"text":"A tr"');
  page.note({ type: 'event', event: event({ text: 'A tree.' }) });
  const telling = told(page);
  page.note({ type: 'event', event: event({ text: 'A car.' }) });
  expect(await telling).not.toContain('A tr"');
});

test('a long text is cut, so that what is kept stays small', async () => {
  const page = pageWith();
  page.note({ type: 'event', event: event({ text: 'x'.repeat(1 << 20) }) });
  expect(JSON.stringify(await page.snapshot()).length).toBeLessThan(6000);
});

test('names that are made up for answers leave nothing behind but the latest events', async () => {
  const page = pageWith();
  for (let i = 0; i < 1000; i++) page.note({ type: 'event', event: event({ kind: 'answer', stream: `made-up-${i}` }) });
  const telling = told(page);
  page.note({ type: 'event', event: event({ stream: 'made-up-again', text: 'only this' }) });
  const said = await telling;
  expect([said.match(/event: /g)?.length, said.includes('only this')]).toEqual([1, true]);
  expect(((await page.snapshot()) as { events: unknown[] }).events).toHaveLength(200);
});
