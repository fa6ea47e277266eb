import { type Bounds, ladderOf } from '../../../daemon/governor/ladder';
import { type Decision, decide, type JobFacts, type PolicyState } from '../../../daemon/governor/policy';
import { noPressure, type Pressure } from '../../../daemon/governor/pressure';
import { Timings } from '../../../daemon/governor/timings';
import type { SliceInfo } from '../../../daemon/inference/types';
import { e4b, noBounds, small } from './support';

const job: JobFacts = {
  request: {},
  remainingMs: null,
  images: 0,
  clips: 0,
  promptTokens: 100,
  expectedTokens: 50,
};

const hot = (level: number): Pressure => ({ ...noPressure, level, reasons: ['temperature'], texts: ['it is hot'] });

function choose(facts: Partial<JobFacts>, state: Partial<PolicyState> = {}, bounds: Partial<Bounds> = {}): Decision {
  const ladder = ladderOf(e4b, { ...noBounds, ...bounds });
  return decide(
    { pressure: noPressure, ladder, timings: new Timings(), constrained: null, now: 0, ...state },
    { ...job, ...facts },
  );
}

/** 20 ms a prompt token and 40 ms a decoded one on `full`, 900 ms a picture of 768 px. */
function measured(): Timings {
  const timings = new Timings();
  const full = e4b.sliceInfos[0] as SliceInfo;
  const parts = { clips: 0, promptTokens: 100, prefillMs: 2000, completionTokens: 100, decodeMs: 4000 };
  timings.learn(full, 768, { ...parts, images: 1, encodeMs: 900 }, 0);
  return timings;
}

test('at ease a job gets the largest, and a tail for the middle of its reply', () => {
  expect(choose({ images: 1 })).toEqual({
    slice: 'full',
    tailSlice: 'full-tail',
    imageSize: 768,
    reasons: ['nominal'],
    why: 'nothing speaks against it',
    constrained: null,
  });
});

test.each([
  [1, 'e3.18b', 512],
  [2, 'e2.54b', 256],
  [3, 'e2b', 256],
])('level %i: %s, pictures at %i', (level, slice, imageSize) => {
  expect(choose({ images: 1 }, { pressure: hot(level) })).toMatchObject({
    slice,
    imageSize,
    reasons: ['temperature'],
    why: 'it is hot',
  });
});

test('with two slices every level is the smaller one; with one there is none', () => {
  const pressure = hot(1);
  const two = ladderOf(small, { ...noBounds, slices: ['full', 'half'] });
  expect(choose({}, { pressure, ladder: two })).toMatchObject({ slice: 'half', reasons: ['temperature'] });
  const one = choose({}, { pressure, ladder: ladderOf(small, noBounds) });
  expect(one).toMatchObject({ slice: 'full', reasons: ['nominal'] });
  expect(one).not.toHaveProperty('tailSlice');
});

describe('what the request names', () => {
  test('wins over everything, and no tail is put under it', () => {
    const chosen = choose({ request: { slice: 'e3.39b', imageSize: 512 }, images: 1 }, { pressure: hot(3) });
    expect(chosen).toEqual({ reasons: ['request'], why: 'the request names it', constrained: null });
  });

  test('leaves the rest to the governor', () => {
    const slice = choose({ request: { slice: 'full' }, images: 1 }, { pressure: hot(1) });
    expect(slice).toMatchObject({ imageSize: 512, reasons: ['request', 'temperature'] });
    expect(slice).not.toHaveProperty('slice');
    const size = choose({ request: { imageSize: 768 }, images: 1 }, { pressure: hot(3) });
    expect(size).toMatchObject({ slice: 'e2b', reasons: ['request', 'temperature'] });
    expect(size).not.toHaveProperty('imageSize');
    expect(choose({ request: { tailSlice: 'e3.59b' } })).not.toHaveProperty('tailSlice');
  });

  test('may be a slice without a name; its time is not judged', () => {
    const slice = { ffnWidths: [32], skippedLayers: [] };
    const chosen = choose({ request: { slice }, images: 1, remainingMs: 1 }, { timings: measured() });
    expect(chosen).toMatchObject({ imageSize: 768, reasons: ['request'], constrained: null });
  });
});

test('what the configuration names is left alone, the other is not', () => {
  const pinned = choose({ images: 1 }, { pressure: hot(2) }, { slice: 'e4b' });
  expect(pinned).toMatchObject({ imageSize: 256, reasons: ['pinned', 'temperature'] });
  expect(pinned).not.toHaveProperty('slice');
  expect(pinned).not.toHaveProperty('tailSlice');
  expect(choose({ images: 1 }, { pressure: hot(2) }, { slice: 'e4b', imageSize: 512 })).toEqual({
    reasons: ['pinned'],
    why: 'there is nothing to choose from',
    constrained: null,
  });
});

describe('the deadline', () => {
  // On `full`, 100 prompt tokens and 50 of reply: 2000 + 2000 ms. On e2b: 1200 + 1000 ms.
  test('is no reason while there is time, or nothing is known', () => {
    expect(choose({ remainingMs: 4400 }, { timings: measured() })).toMatchObject({
      slice: 'full',
      reasons: ['nominal'],
    });
    expect(choose({ remainingMs: 1 })).toMatchObject({ slice: 'full', reasons: ['nominal'] });
  });

  test('takes the least loss that is done in time with a tenth to spare', () => {
    expect(choose({ remainingMs: 4399 }, { timings: measured() })).toMatchObject({
      slice: 'e3.39b',
      reasons: ['deadline'],
      why: 'full would not be done in 4399 ms',
      constrained: { decodeMacs: 34 },
    });
    expect(choose({ remainingMs: 2500 }, { timings: measured() })).toMatchObject({ slice: 'e2b' });
  });

  test('shrinks a picture before the slice where that is the lesser loss', () => {
    // 900 + 4000 ms, 400 + 4000 at 512 px.
    expect(choose({ images: 1, remainingMs: 4900 }, { timings: measured() })).toMatchObject({
      slice: 'e3.39b',
      imageSize: 768,
    });
    const picture = { images: 4, promptTokens: 10, expectedTokens: 5 };
    expect(choose({ ...picture, remainingMs: 2500 }, { timings: measured() })).toMatchObject({
      slice: 'full',
      imageSize: 512,
      why: 'full at 768 px would not be done in 2500 ms',
    });
  });

  test('that cannot be met gets the fastest', () => {
    expect(choose({ images: 1, remainingMs: 10 }, { timings: measured() })).toMatchObject({
      slice: 'e2b',
      imageSize: 256,
      reasons: ['deadline'],
      why: 'nothing is fast enough for 10 ms',
    });
  });

  test('does not alternate at the edge: anything larger than the last time needs more to spare', () => {
    const timings = measured();
    const constrained = choose({ remainingMs: 4300 }, { timings }).constrained;
    expect(choose({ remainingMs: 4500 }, { timings, constrained })).toMatchObject({ slice: 'e3.39b' });
    expect(choose({ remainingMs: 5200 }, { timings, constrained })).toMatchObject({
      slice: 'full',
      constrained: null,
    });
  });

  test('starts from what the pressure leaves', () => {
    expect(choose({ remainingMs: 2500 }, { timings: measured(), pressure: hot(1) })).toMatchObject({
      slice: 'e2b',
      reasons: ['temperature', 'deadline'],
    });
  });
});

describe('keys and values that are there', () => {
  const cached = { kvGroup: 0, tokens: 2000 };
  const long = { promptTokens: 2050, expectedTokens: 50 };

  test('are kept by a tail of their group when that is the least work', () => {
    expect(choose({ ...long, cached }, { pressure: hot(2) })).toMatchObject({
      slice: 'full-tail',
      reasons: ['temperature', 'cache'],
      why: 'it is hot; 2000 cached tokens make full-tail the least work',
    });
  });

  test('are given up when another slice is less work even so', () => {
    const chosen = choose({ ...long, expectedTokens: 4000, cached: { kvGroup: 0, tokens: 60 } }, { pressure: hot(2) });
    expect(chosen).toMatchObject({ slice: 'e2.54b', reasons: ['temperature'] });
  });

  test('do not hold a conversation on a small slice once there is time', () => {
    expect(choose({ ...long, cached: { kvGroup: 1, tokens: 2000 } })).toMatchObject({ slice: 'full' });
  });

  test('count for the deadline: a re-prefill takes its time', () => {
    // full: 50 * 20 + 2000 ms with the cache; e3.39b would prefill all 2050 tokens again.
    const timings = measured();
    expect(choose({ ...long, cached, remainingMs: 3310 }, { timings })).toMatchObject({ slice: 'full' });
    expect(choose({ ...long, cached, remainingMs: 2700 }, { timings })).toMatchObject({
      slice: 'full-tail',
      reasons: ['deadline'],
    });
    expect(choose({ ...long, remainingMs: 3300 }, { timings })).toMatchObject({
      why: expect.stringContaining('nothing is') as string,
    });
  });
});
