import { Timings } from '../../../daemon/governor/timings';
import type { SliceInfo } from '../../../daemon/inference/types';
import { e4b } from './support';

const find = (name: string): SliceInfo => e4b.sliceInfos.find((slice) => slice.name === name) as SliceInfo;
const full = find('full');
const e2b = find('e2b');

const measured = {
  images: 1,
  clips: 0,
  encodeMs: 900,
  promptTokens: 300,
  prefillMs: 600,
  completionTokens: 20,
  decodeMs: 800,
};
const work = { images: 1, clips: 0, promptTokens: 300, expectedTokens: 10 };

test('claims nothing before anything was measured, nor for what was not', () => {
  const timings = new Timings();
  expect(timings.estimate(full, 768, work, 0, 0)).toBeNull();
  timings.learn(full, 768, measured, 0);
  expect(timings.estimate(full, 768, { ...work, clips: 1 }, 0, 0)).toBeNull();
});

test('a job is its pictures, the prompt that is not cached, and the reply', () => {
  const timings = new Timings();
  timings.learn(full, 768, measured, 0);
  expect(timings.estimate(full, 768, work, 0, 0)).toBe(900 + 600 + 400);
  expect(timings.estimate(full, 768, work, 250, 0)).toBe(900 + 100 + 400);
  expect(timings.estimate(full, 768, work, 1000, 0)).toBe(900 + 0 + 400);
  expect(timings.estimate(full, 768, { ...work, images: 3 }, 0, 0)).toBe(2700 + 600 + 400);
});

test('what was not measured is inferred by the ratio of the work', () => {
  const timings = new Timings();
  timings.learn(full, 768, measured, 0);
  expect(timings.estimate(e2b, 768, { ...work, images: 0 }, 0, 0)).toBeCloseTo((600 * 12) / 20 + (400 * 20) / 40);
  expect(timings.estimate(full, 256, { images: 1, clips: 0, promptTokens: 0, expectedTokens: 0 }, 0, 0)).toBeCloseTo(
    100,
  );
});

test('newer measurements count for more, and an old one gives way to what newer ones of others imply', () => {
  const timings = new Timings();
  const decoding = { images: 0, clips: 0, promptTokens: 0, expectedTokens: 10 };
  timings.learn(full, 0, measured, 0);
  timings.learn(full, 0, { ...measured, decodeMs: 1600 }, 1000);
  expect(timings.estimate(full, 0, decoding, 0, 1000)).toBeCloseTo(10 * (40 + 0.3 * 40));
  timings.learn(e2b, 0, { ...measured, decodeMs: 2000 }, 2000);
  expect(timings.estimate(full, 0, decoding, 0, 3000)).toBeCloseTo(520);
  expect(timings.estimate(full, 0, decoding, 0, 20 * 60_000)).toBeCloseTo(10 * 100 * 2);
});

test('short replies, mixed media and a reply that changed its slice teach nothing about what they cannot tell', () => {
  const timings = new Timings();
  timings.learn(full, 768, { ...measured, clips: 1, completionTokens: 3, promptTokens: 7 }, 0);
  for (const part of [{ images: 1 }, { clips: 1 }, { promptTokens: 1 }, { expectedTokens: 1 }]) {
    expect(
      timings.estimate(full, 768, { images: 0, clips: 0, promptTokens: 0, expectedTokens: 0, ...part }, 0, 0),
    ).toBeNull();
  }
  timings.learn(full, 768, measured, 0, false);
  expect(timings.estimate(full, 768, { ...work, expectedTokens: 0 }, 0, 0)).toBe(1500);
  expect(timings.estimate(full, 768, work, 0, 0)).toBeNull();
});

test('replies of a kind are expected to be about as long as they were, and never longer than allowed', () => {
  const timings = new Timings();
  expect(timings.expectedTokens('image', 256)).toBe(256);
  timings.learnReply('image', 20);
  expect(timings.expectedTokens('image', 256)).toBe(32);
  expect(timings.expectedTokens('image', 16)).toBe(16);
  expect(timings.expectedTokens('text', 256)).toBe(256);
});

test('what the runner had already took no time, and says nothing about the time it takes', () => {
  const timings = new Timings();
  timings.learn(full, 768, measured, 0);
  timings.learn(full, 768, { ...measured, encodeMs: 2 }, 0);
  expect(timings.estimate(full, 768, { images: 1, clips: 0, promptTokens: 0, expectedTokens: 0 }, 0, 0)).toBe(900);
});
