/** A video the engine watches while it is being taken: the answer is the same, and most of its prompt is done before. */
import { generate } from '../../daemon/inference/generate';
import { NativeEngine, type NativeSession } from '../../daemon/inference/native';
import { SessionPool } from '../../daemon/inference/session-pool';
import { StepScheduler } from '../../daemon/inference/step-scheduler';
import type { GenerateResult, VideoPart } from '../../daemon/inference/types';
import { Watcher } from '../../daemon/inference/watcher';
import { pictureOf, soundOf } from '../helpers/nano';

const media = (name: string): string => `daemon/demo/media/${name}`;
/** Of the prompt, after the video: the question, the ends of the turn and of the last picture. */
const questionTokens = 24;
const never = new AbortController().signal;

async function open() {
  const engine = await NativeEngine.open({
    modelPath: 'daemon/demo/model/nano.gguf',
    multimodalPath: 'daemon/demo/model/mmproj-nano.gguf',
    threads: 2,
    prefixCacheBytes: 32 << 20,
  });
  const sessions = new SessionPool<NativeSession>(() => engine.newSession(), 2);
  const scheduler = new StepScheduler();
  const ask = async (video: VideoPart): Promise<GenerateResult> => {
    const session = sessions.take();
    try {
      return await generate(
        engine,
        session,
        { messages: [{ role: 'user', parts: [video, { type: 'text', text: 'Describe the image.' }] }], maxTokens: 32 },
        { slice: 'full', imageSize: 0 },
        { onText: () => undefined, step: scheduler.join(0, never).step },
      );
    } finally {
      sessions.give(session);
    }
  };
  const watch = (): Watcher =>
    new Watcher({
      engine,
      sessions,
      join: (signal) => scheduler.join(0, signal),
      slice: 'full',
      imageSize: 0,
      maxTokens: 2048,
    });
  return { engine, ask, watch };
}

let video: VideoPart & { readonly sounds: NonNullable<VideoPart['sounds']> };

beforeAll(async () => {
  const frames = [];
  for (const [i, file] of ['000.png', '004.png', '001.png'].entries()) {
    frames.push({ image: (await pictureOf(media(file))).image, timeMs: 1000 * i });
  }
  video = { type: 'video', frames, sounds: [{ audio: (await soundOf(media('007.wav'))).audio, timeMs: 1500 }] };
});

test('a video that was watched needs no encoder, and of its prompt only what follows it', async () => {
  const plain = await (await open()).ask(video);
  expect(plain.cachedMedia).toBe(0);
  const { ask, watch } = await open();
  const watcher = watch();
  for (const frame of video.frames.slice(0, 2)) watcher.seen(frame);
  for (const sound of video.sounds) watcher.heard(sound);
  for (const frame of video.frames.slice(2)) watcher.seen(frame);
  await watcher.settled();
  const result = await ask(video);
  expect(result.text).toBe(plain.text);
  expect(result.cachedMedia).toBe(4);
  expect(result.tokens.prompt).toBe(plain.tokens.prompt);
  expect(result.tokens.prompt - (result.tokens.cached ?? 0)).toBeLessThan(questionTokens);
});

test('a sound that began earlier than it is known of goes where it belongs', async () => {
  const plain = await (await open()).ask(video);
  const { ask, watch } = await open();
  const watcher = watch();
  for (const frame of video.frames) watcher.seen(frame);
  await watcher.settled();
  for (const sound of video.sounds) watcher.heard(sound);
  await watcher.settled();
  const result = await ask(video);
  expect(result.text).toBe(plain.text);
  expect(result.tokens.prompt - (result.tokens.cached ?? 0)).toBeLessThan(questionTokens);
});

test('one that is cancelled leaves what was done, and the job does the rest', async () => {
  const { ask, watch } = await open();
  const watcher = watch();
  const [first, ...others] = video.frames;
  if (first === undefined) throw new Error('a video of no frames');
  watcher.seen(first);
  await watcher.settled();
  for (const frame of others) watcher.seen(frame);
  watcher.cancel();
  await watcher.settled();
  const result = await ask(video);
  expect(result.cachedMedia).toBeGreaterThanOrEqual(1);
  expect(result.tokens.cached).toBeGreaterThan(256);
  expect(result.text).toBe((await (await open()).ask(video)).text);
});
