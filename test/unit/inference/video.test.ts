import type { AudioClip, VideoFrame } from '../../../daemon/inference/types';
import { chooseFrames, frameCount, inTimeOrder } from '../../../daemon/inference/video';

const counts = { imageSoftTokens: 256, audioSoftTokens: 188 };
const audio: AudioClip = { samples: new Float32Array(16_000) };

/** A frame of one brightness. */
const frame = (second: number, luma: number): VideoFrame => ({
  image: { width: 32, height: 32, data: new Uint8Array(32 * 32 * 3).fill(luma) },
  timeMs: 1000 * second,
});
const seconds = (frames: readonly VideoFrame[]): number[] => frames.map(({ timeMs }) => timeMs / 1000);

test('of too many frames those go that change least, whenever they came; the first stays', () => {
  const frames = [frame(0, 10), frame(1, 12), frame(2, 90), frame(3, 95), frame(4, 20), frame(5, 23)];
  expect(seconds(chooseFrames(frames, 6))).toEqual([0, 1, 2, 3, 4, 5]);
  expect(seconds(chooseFrames(frames, 5))).toEqual([0, 2, 3, 4, 5]);
  expect(seconds(chooseFrames(frames, 4))).toEqual([0, 2, 3, 4]);
  expect(seconds(chooseFrames(frames, 3))).toEqual([0, 2, 4]);
  expect(seconds(chooseFrames(frames, 1))).toEqual([0]);
});

test('what goes is measured again against what is left', () => {
  // 40 -> 50 -> 60 are small steps, 40 -> 60 is not, once 50 is gone.
  const frames = [frame(0, 0), frame(1, 40), frame(2, 50), frame(3, 60), frame(4, 75)];
  expect(seconds(chooseFrames(frames, 3))).toEqual([0, 1, 4]);
});

test('frames that show nothing new cost nothing', () => {
  const still = Array.from({ length: 30 }, (_, i) => frame(i, 100));
  expect(seconds(chooseFrames(still, 8))).toEqual([0]);
  expect(seconds(chooseFrames([...still, frame(30, 101)], 8))).toEqual([0, 30]);
});

test('no more frames a second than asked for; the order they come in is no matter', () => {
  const frames = [2, 0, 0.25, 1.9, 1, 0.5].map((second) => frame(second, 10 + 50 * second));
  expect(seconds(chooseFrames(frames, 9, 1))).toEqual([0, 1, 2]);
  expect(seconds(chooseFrames(frames, 9, 2))).toEqual([0, 0.5, 1, 1.9]);
});

test('sounds are paid for first; one frame is always seen', () => {
  const sounds = [0, 4000].map((timeMs) => ({ audio, timeMs }));
  const video = { type: 'video' as const, frames: [frame(0, 0)] };
  expect(frameCount(video, counts)).toBe(8);
  expect(frameCount({ ...video, sounds }, counts)).toBe(6);
  expect(frameCount({ ...video, maxTokens: 1024 }, counts)).toBe(4);
  expect(frameCount({ ...video, sounds, maxTokens: 300 }, counts)).toBe(1);
});

test('pictures and sounds in the order they were seen and heard', () => {
  const frames = [frame(0, 0), frame(1, 60), frame(2, 120)];
  const sounds = [2500, 1000].map((timeMs) => ({ audio, timeMs }));
  const order = inTimeOrder({ type: 'video', frames, sounds }, counts);
  expect(order.map((seen) => ('image' in seen ? seen.image.data[0] : 'sound'))).toEqual([0, 60, 'sound', 120, 'sound']);
});

test.each([
  ['no frames', { frames: [] }],
  ['a budget of nothing', { frames: [frame(0, 0)], maxTokens: 0 }],
  ['a rate that is no number', { frames: [frame(0, 0)], framesPerSecond: Number.NaN }],
])('%s is PROMPT_INVALID', (_what, part) => {
  expect(() => inTimeOrder({ type: 'video', ...part }, counts)).toThrow(
    expect.objectContaining({ code: 'PROMPT_INVALID' }),
  );
});
