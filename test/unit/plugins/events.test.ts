import { frame } from '@hearth/testkit';
import { errorEvent, type JobRecord, resultEvent } from '../../../daemon/plugins/stream-event';
import { summarise } from '../../../daemon/summary';

const context = { id: 'event', node: 'pi5', plugin: 'captions', ts: frame.capturedTs + 4.2226 };
const job: JobRecord = {
  result: {
    text: 'raw',
    finishReason: 'length',
    tokens: { prompt: 291, completion: 24, cached: 0 },
    timings: { encode: 0, prefill: 0, decode: 0, waiting: 0, firstToken: 0, total: 0 },
    slice: 'e2b',
  },
  model: 'nano',
  firstTokenTs: frame.capturedTs + 3.5,
};

test('an event has the fields of the item, of the job and of the plugin', () => {
  expect(resultEvent({ kind: 'caption', text: 'A red door.', lang: 'en' }, frame, job, context)).toEqual({
    v: 1,
    id: 'event',
    kind: 'caption',
    node: 'pi5',
    stream: 'front',
    ts: context.ts,
    captured_ts: frame.capturedTs,
    latency_ms: 4223,
    first_token_ms: 3500,
    text: 'A red door.',
    summary: 'A red door.',
    lang: 'en',
    source: { topic: 'hearth/in/front/frame', sha256: 'a'.repeat(64) },
    model: 'nano',
    slice: 'e2b',
    tokens: { prompt: 291, completion: 24, cached: 0 },
    truncated: true,
    plugin: 'captions',
  });
});

test('without a job and a text there is nothing of either; a clock that went back makes no negative latency', () => {
  const event = resultEvent({ kind: 'call', call: null }, frame, undefined, { ...context, ts: frame.capturedTs - 9 });
  expect(event).toMatchObject({ kind: 'call', call: null, latency_ms: 0 });
  for (const member of ['text', 'summary', 'lang', 'model', 'tokens', 'first_token_ms'])
    expect(event).not.toHaveProperty(member);
});

test('an error event names the error and the item', () => {
  const error = { code: 'PLUGIN_CRASHED', message: 'x', retryable: true };
  expect(errorEvent(error, frame, context)).toMatchObject({
    kind: 'error',
    error,
    stream: 'front',
    plugin: 'captions',
  });
});

test.each([
  ['', ''],
  [' a \n\n b\t', 'a b'],
  ['x'.repeat(250), 'x'.repeat(250)],
  ['x'.repeat(251), `${'x'.repeat(249)}…`],
  [`${'x'.repeat(249)} y`, `${'x'.repeat(249)}…`],
  [`${'x'.repeat(240)} ${'y'.repeat(20)}`, `${'x'.repeat(240)}…`],
  ['🙂'.repeat(260), `${'🙂'.repeat(249)}…`],
])('a summary keeps to 250 characters and cuts at a word', (text, summary) => {
  expect(summarise(text)).toBe(summary);
});
