/** Several jobs on one engine: their turns, their replies, and what one that is cancelled or fails does to the others. */
import { filter, firstValueFrom } from 'rxjs';
import type { HearthError } from '../../../daemon/errors';
import { generate } from '../../../daemon/inference/generate';
import { NativeEngine } from '../../../daemon/inference/native';
import { RunnerEngine } from '../../../daemon/inference/runner-engine';
import { StepScheduler } from '../../../daemon/inference/step-scheduler';
import type { GenerateRequest, GenerateResult, Part } from '../../../daemon/inference/types';
import { pictureOf } from '../../helpers/nano';

const files = { modelPath: 'daemon/demo/model/nano.gguf', multimodalPath: 'daemon/demo/model/mmproj-nano.gguf' };

const say = (text: string): Part => ({ type: 'text', text });
/** Long replies of a model that by itself says little. */
const words = (count: number) =>
  ({ type: 'array', items: { enum: ['tree', 'snow', 'bicycle'] }, minItems: count, maxItems: count }) as const;
const chat = (text: string, count: number): GenerateRequest => ({
  messages: [
    { role: 'system', parts: [say('You are a house that answers in lists. You know trees, snow and bicycles.')] },
    { role: 'user', parts: [say(text)] },
  ],
  maxTokens: 200,
  schema: words(count),
  // A step is a token, so that what is shown tells whose turn it was.
  speculation: 'off',
});

let caption: GenerateRequest;

beforeAll(async () => {
  const parts = [await pictureOf('daemon/demo/media/000.png'), say('Describe the image.')];
  caption = { messages: [{ role: 'user', parts }], maxTokens: 32 };
});

/** An engine in this process; every step costs the same, whatever it takes. */
async function open(prefixCacheBytes: number) {
  const engine = await NativeEngine.open({ ...files, threads: 2, prefixCacheBytes });
  let ticks = 0;
  const scheduler = new StepScheduler({ now: () => ticks++, ordinaryStepMs: 1 });
  return {
    engine,
    run: async (
      request: GenerateRequest,
      priority: number,
      onText: (piece: string) => void = () => undefined,
      signal: AbortSignal = new AbortController().signal,
    ): Promise<GenerateResult> =>
      await generate(
        engine,
        engine.newSession(),
        request,
        { slice: 'full', imageSize: 0 },
        { onText, step: scheduler.join(priority, signal).step },
      ),
  };
}

const first = chat('What do you see in the garden?', 12);
const second = chat('What is in the street? Tell me everything about it, please.', 12);

test('two chats and a caption take turns by priority, and say what each says alone', async () => {
  const alone = await open(0);
  const replies: string[] = [];
  for (const request of [first, second, caption]) replies.push((await alone.run(request, 0)).text);
  expect(JSON.parse(replies[0] ?? '')).toHaveLength(12);
  expect(replies[2]).toBe('A tree in the snow.');
  expect(alone.engine.reuse()).toMatchObject({ entries: 0, hits: 0, bytes: 0 });

  const shared = await open(64 << 20);
  const order: string[] = [];
  let doorbell: Promise<GenerateResult> | undefined;
  const ended: string[] = [];
  const begin = async (name: string, request: GenerateRequest, priority: number): Promise<GenerateResult> => {
    const result = await shared.run(request, priority, () => {
      order.push(name);
      if (order.length === 10) doorbell = begin('doorbell', caption, 9);
    });
    ended.push(name);
    return result;
  };
  const chats = await Promise.all([begin('interactive', first, 4), begin('background', second, 2)]);
  const pictured = await doorbell;
  expect([...chats, pictured].map((result) => result?.text)).toEqual(replies);
  expect(ended).toEqual(['doorbell', 'interactive', 'background']);

  // Two levels of priority are four times the share; the doorbell, once it is there, has nearly all of it.
  const came = order.indexOf('doorbell');
  const before = order.slice(0, came);
  expect(before.filter((name) => name === 'background').length).toBeGreaterThanOrEqual(1);
  expect(before.filter((name) => name === 'background').length).toBeLessThanOrEqual(4);
  const whileItWrites = order.slice(came, order.lastIndexOf('doorbell') + 1);
  expect(whileItWrites.filter((name) => name !== 'doorbell').length).toBeLessThanOrEqual(1);
  const after = order.slice(order.lastIndexOf('doorbell') + 1, order.lastIndexOf('interactive') + 1);
  const share = after.filter((name) => name === 'interactive').length / after.length;
  expect(share).toBeGreaterThan(0.7);
  expect(share).toBeLessThan(0.9);
});

test('what a system message, an earlier turn and a picture cost is paid once', async () => {
  const { engine, run } = await open(64 << 20);
  const plain = await open(0);
  const cold = await run(first, 0);
  expect(cold.tokens.cached).toBe(0);
  // The system message, in another session.
  const other = await run(second, 0);
  expect(other.tokens.cached).toBeGreaterThan(20);
  expect(other.tokens.cached).toBeLessThan(other.tokens.prompt);
  // The next turn: all but the new words.
  const turn: GenerateRequest = {
    ...first,
    messages: [
      ...first.messages,
      { role: 'model', parts: [say(cold.text)] },
      { role: 'user', parts: [say('And what else?')] },
    ],
  };
  const next = await run(turn, 0);
  expect(next.tokens.cached).toBeGreaterThanOrEqual(cold.tokens.prompt);
  expect(next.text).toBe((await plain.run(turn, 0)).text);

  const seen = await run(caption, 0);
  expect(seen.tokens.cached).toBe(0);
  const again: GenerateRequest = {
    messages: [
      {
        role: 'user',
        parts: [await pictureOf('daemon/demo/media/000.png'), say('Is there a bicycle?')],
      },
    ],
    maxTokens: 32,
  };
  const asked = await run(again, 0);
  expect(asked.tokens.cached).toBeGreaterThan(256);
  expect(asked.text).toBe((await plain.run(again, 0)).text);
  expect(engine.reuse()).toMatchObject({ mediaHits: 1, resumes: 5, hits: 3 });

  // Another picture with the same words.
  const different: GenerateRequest = {
    ...caption,
    messages: [{ role: 'user', parts: [await pictureOf('daemon/demo/media/001.png'), say('Describe the image.')] }],
  };
  const elsewhere = await run(different, 0);
  expect(elsewhere.tokens.cached).toBe(0);
  expect(elsewhere.text).toBe((await plain.run(different, 0)).text);
  expect(elsewhere.text).not.toBe(seen.text);
});

test('a job that is cancelled ends within a step; one that fails, fails alone', async () => {
  const { run } = await open(0);
  const abort = new AbortController();
  let pieces = 0;
  const cancelled = run(
    second,
    9,
    () => {
      if (++pieces === 3) abort.abort();
    },
    abort.signal,
  );
  const failing = run({ ...first, slice: 'nonsense' }, 9);
  const impossible = run({ ...first, messages: [{ role: 'user', parts: [say('x'.repeat(100_000))] }] }, 9);
  const fine = run(caption, 0);
  const codes = await Promise.all(
    [cancelled, failing, impossible].map((job) => job.catch((error: HearthError) => error.code)),
  );
  expect(codes).toEqual(['ENGINE_CANCELLED', 'SLICE_INVALID', 'CONTEXT_FULL']);
  expect(pieces).toBe(3);
  expect((await fine).text).toBe('A tree in the snow.');
});

describe('the runner', () => {
  let engine: RunnerEngine;

  beforeAll(async () => {
    engine = new RunnerEngine({ ...files, threads: 2, concurrency: 3 });
    await firstValueFrom(engine.state$.pipe(filter(({ phase }) => phase === 'ready')));
  });

  afterAll(async () => await engine.close());

  test('runs jobs side by side, more urgent ones sooner; others wait for a session', async () => {
    const ended: string[] = [];
    const run = async (name: string, request: GenerateRequest, priority: number): Promise<string> => {
      const { text } = await engine.generate(request, { priority });
      ended.push(name);
      return text;
    };
    let late: Promise<string[]> | undefined;
    const background = engine.generate(second, {
      priority: 0,
      onText: () => {
        late ??= Promise.all([run('doorbell', caption, 9), run('chat', first, 4), run('beyond', caption, 3)]);
      },
    });
    const text = (await background).text;
    ended.push('background');
    const [pictured, chatted, beyond] = (await late) ?? [];
    expect(pictured).toBe('A tree in the snow.');
    expect(beyond).toBe(pictured);
    expect(JSON.parse(text)).toHaveLength(12);
    expect(JSON.parse(chatted ?? '')).toHaveLength(12);
    expect(ended[0]).toBe('doorbell');
    expect(ended.at(-1)).toBe('background');
  });

  test('cancels a job that waits for its turn, and one that waits for a session, at once', async () => {
    const running = [first, second, first].map((request) => engine.generate(request, { priority: 5 }));
    const aborts = [new AbortController(), new AbortController()];
    const cancelled = aborts.map(({ signal }) => engine.generate(caption, { priority: 0, signal }));
    const codes = Promise.all(cancelled.map((job) => job.catch((error: HearthError) => error.code)));
    for (const abort of aborts) abort.abort();
    expect(await codes).toEqual(['ENGINE_CANCELLED', 'ENGINE_CANCELLED']);
    for (const { text } of await Promise.all(running)) expect(JSON.parse(text)).toHaveLength(12);
  });

  test('reports the memory of its sessions and what was reused', async () => {
    const again = await engine.generate(caption);
    expect(again.tokens.cached).toBe(again.tokens.prompt - 1);
    const { kvBytes, reuse, busy } = await new Promise<ReturnType<RunnerEngine['health']>>((resolve) => {
      const timer = setInterval(() => {
        const health = engine.health();
        if (health.busy || (health.reuse?.hits ?? 0) === 0) return;
        clearInterval(timer);
        resolve(health);
      }, 50);
    });
    expect(busy).toBe(false);
    expect(kvBytes).toBeGreaterThan(0);
    expect(reuse?.bytes).toBeGreaterThan(0);
    expect(reuse?.bytes).toBeLessThanOrEqual(reuse?.maxBytes ?? 0);
    expect(reuse?.mediaHits).toBeGreaterThan(0);
  });
});
