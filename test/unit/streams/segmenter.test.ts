import { loadConfig } from '../../../daemon/config';
import { concat } from '../../../daemon/media/concat';
import { decodeWav } from '../../../daemon/media/wav';
import { ChunkOrder } from '../../../daemon/streams/chunk-order';
import { streamsOptions } from '../../../daemon/streams/options';
import { Segmenter, type SegmenterOptions } from '../../../daemon/streams/segmenter';
import { loadVoiceDetector } from '../../../daemon/streams/voice-detector';
import { fixture } from './support';

/** What a user gets who configures nothing. */
const defaults: SegmenterOptions = streamsOptions(loadConfig({ env: {} })).defaults.microphone.options;
/** Frame `i` holds the value i + 1, so that a segment says which frames it is made of. */
const numbered = (frames: number): Float32Array =>
  Float32Array.from({ length: 320 * frames }, (_, i) => Math.floor(i / 320) + 1);
const framesOf = (samples: Float32Array): number[] =>
  Array.from({ length: samples.length / 320 }, (_, i) => samples[320 * i] as number);
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** Small and fast, the same on every run. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function segmenter(options: Partial<SegmenterOptions>, voiced: (frame: number) => boolean): Segmenter {
  return new Segmenter(
    { ...defaults, preRollMs: 40, endSilenceMs: 100, keepSilenceMs: 60, minSpeechMs: 60, ...options },
    (frame) => voiced(frame[0] as number),
  );
}

test('a segment has its pre-roll and the kept silence; the rest is the next pre-roll', () => {
  const s = segmenter({}, (i) => (i >= 10 && i <= 15) || i >= 22);
  const [first, ...more] = s.push(numbered(21));
  expect(more).toEqual([]);
  expect(framesOf(first!.samples)).toEqual(range(8, 18));
  expect(first).toMatchObject({ speechMs: 120, tooShort: false });
  expect(s.push(numbered(25).subarray(21 * 320))).toEqual([]);
  expect(framesOf(s.flush()!.samples)).toEqual([20, 21, 22, 23, 24, 25, 0, 0, 0]);
});

test('chunks of any size make the same segments', () => {
  const voiced = (i: number): boolean => (i >= 5 && i < 30) || (i >= 50 && i < 60);
  const whole = segmenter({}, voiced)
    .push(numbered(100))
    .map(({ samples }) => framesOf(samples));
  for (const size of [1, 7, 319, 320, 321, 5000]) {
    const s = segmenter({}, voiced);
    const got: number[][] = [];
    const all = numbered(100);
    for (let at = 0; at < all.length; at += size)
      got.push(...s.push(all.subarray(at, at + size)).map(({ samples }) => framesOf(samples)));
    expect(got).toEqual(whole);
  }
  expect(whole.length).toBe(2);
});

test('too little speech is told, silence is nothing', () => {
  const s = segmenter({}, (i) => i === 10 || i === 11);
  expect(s.push(numbered(40)).map(({ speechMs, tooShort }) => [speechMs, tooShort])).toEqual([[40, true]]);
  expect(s.flush()).toBeUndefined();
  expect(segmenter({}, () => false).push(numbered(1000))).toEqual([]);
});

test('a segment that gets long is cut at a pause, which both sides have; the longer it is, the shorter a pause will do', () => {
  const pausesAt = (i: number): boolean => (i > 20 && i <= 24) || (i > 40 && i <= 43) || (i > 77 && i <= 81) || i > 90;
  const s = segmenter({ maxSegmentMs: 1000 }, (i) => !pausesAt(i));
  const segments = s.push(numbered(98)).map(({ samples }) => framesOf(samples));
  // The pause at 21 comes too early.
  expect(segments).toEqual([range(1, 43), range(42, 81), range(80, 93)]);
});

test('speech without a pause is cut at its quietest moment of the last third, which both sides have', () => {
  const s = segmenter({ maxSegmentMs: 1000 }, () => true);
  const quiet = new Set([30, 40, 80, 110]);
  const segments = s.push(numbered(125).map((frame) => (quiet.has(frame) ? frame / 1000 : frame)));
  const last = s.flush()!;
  const frames = [...segments, last].map(({ samples }) =>
    framesOf(samples).map((i) => (i < 1 ? Math.round(i * 1000) : i)),
  );
  expect(frames).toEqual([range(1, 40), range(40, 80), [...range(80, 125), 0, 0, 0]]);
});

test('whoever listens hears the beginning of each segment while it is spoken, and only its rest when it ends', () => {
  const random = randomOf(7);
  let live: number[] | undefined;
  let pausedAt = -1;
  const ended: number[][] = [];
  const cancelled: number[] = [];
  let heardEarly = 0;
  const options = { preRollMs: 40, endSilenceMs: 200, keepSilenceMs: 60, minSpeechMs: 60, maxSegmentMs: 2000 };
  const s = new Segmenter({ ...defaults, ...options }, () => random() < 0.8, {
    heard: (samples) => {
      live = [...(live ?? []), ...framesOf(samples)];
      heardEarly += samples.length;
    },
    paused: () => {
      expect(live).toBeDefined();
      pausedAt = live?.length ?? -1;
    },
    ended: (rest) => {
      if (rest === undefined) cancelled.push(live?.length ?? 0);
      else ended.push([...(live ?? []), ...framesOf(rest)]);
      live = undefined;
    },
  });
  const segments: number[][] = [];
  let skipped = 0;
  for (let at = 0; at < 3000; at += 50) {
    const silent = at % 150 === 100;
    const frames = numbered(50).map((frame) => (silent && frame > 20 ? 0 : frame + at));
    for (const { samples, tooShort } of s.push(frames)) {
      if (tooShort) skipped++;
      else segments.push(framesOf(samples));
    }
  }
  expect(pausedAt).toBeGreaterThan(0);
  expect(segments.length).toBeGreaterThan(20);
  // What was cancelled was heard again as a whole, or was too little; every other segment is what was heard.
  let found = 0;
  for (const segment of segments) if (String(segment) === String(ended[found])) found++;
  expect(found).toBe(ended.length);
  expect(segments.length - ended.length).toBeLessThanOrEqual(cancelled.length);
  expect(skipped).toBeLessThanOrEqual(cancelled.length);
  expect(heardEarly).toBeGreaterThan(0.8 * ended.flat().length * 320);
});

test('what is held is bounded by the longest segment and the pre-roll', () => {
  for (const voiced of [() => true, () => false, (i: number) => i % 3 === 0]) {
    const s = segmenter({ maxSegmentMs: 1000 }, voiced);
    for (let i = 0; i < 300; i++) {
      s.push(numbered(7));
      expect(s.heldMs).toBeLessThanOrEqual(1000 + 40 + 20);
    }
  }
});

test('push-to-talk takes everything up to flush, the odd samples too', () => {
  const s = segmenter({ mode: 'push-to-talk', keepSilenceMs: 0 }, () => false);
  expect(s.push(numbered(50))).toEqual([]);
  s.push(Float32Array.of(7, 7, 7));
  const segment = s.flush()!;
  expect(segment.samples.length).toBe(50 * 320 + 3);
  expect(segment.tooShort).toBe(false);
  expect(s.flush()).toBeUndefined();
  s.push(numbered(1));
  expect(s.flush()!.tooShort).toBe(true);
});

const recordings = ['002', '004', '007', '012', '034', '047'].map(
  (n) => decodeWav(fixture(`speech-${n}.wav`), 30_000).samples,
);

/** Where in `haystack` the `needle` starts, by its first 200 ms of sound; -1 when it is nowhere. */
function indexOf(haystack: Float32Array, needle: Float32Array): number {
  outer: for (let at = 0; at + needle.length <= haystack.length; at++) {
    for (let i = 0; i < needle.length; i++) if (haystack[at + i] !== needle[i]) continue outer;
    return at;
  }
  return -1;
}

/** The part of a recording between its first and its last 20 ms with sound: a thirtieth of the loudest. */
function spoken(samples: Float32Array): Float32Array {
  const energy = (at: number): number => samples.subarray(at, at + 320).reduce((sum, x) => sum + x * x, 0);
  const starts = Array.from({ length: Math.floor(samples.length / 320) }, (_, i) => 320 * i);
  const threshold = Math.max(...starts.map(energy)) / 900;
  const loud = starts.filter((at) => energy(at) > threshold);
  return samples.slice(loud[0], loud.at(-1)! + 320);
}

test('recordings a second of silence apart become one segment each, and each contains its recording', async () => {
  const create = await loadVoiceDetector();
  const detector = create(2);
  const s = new Segmenter(defaults, (frame) => detector.isSpeech(frame));
  const silence = new Float32Array(16_000);
  const all = concat([silence, ...recordings.flatMap((samples) => [samples, silence])]);
  const segments: Float32Array[] = [];
  // 100 ms chunks, as a microphone would send them.
  for (let at = 0; at < all.length; at += 1600)
    segments.push(...s.push(all.subarray(at, at + 1600)).map(({ samples }) => samples));
  expect(s.flush()).toBeUndefined();
  detector.close();
  expect(segments.length).toBe(recordings.length);
  recordings.forEach((recording, i) => {
    const speech = spoken(recording);
    expect(speech.length).toBeGreaterThan(8000);
    const at = indexOf(segments[i]!, speech);
    expect(at).toBeGreaterThanOrEqual(0);
    const tailMs = (segments[i]!.length - at - speech.length) / 16;
    expect(tailMs).toBeGreaterThanOrEqual(300);
    expect(tailMs).toBeLessThanOrEqual(800);
  });
});

test('the detector hears no speech in silence, hum or a click', async () => {
  const create = await loadVoiceDetector();
  const detector = create(2);
  const count = (sample: (i: number) => number): number => {
    detector.reset();
    let speech = 0;
    for (let f = 0; f < 100; f++)
      if (detector.isSpeech(Float32Array.from({ length: 320 }, (_, i) => sample(320 * f + i)))) speech++;
    return speech;
  };
  expect(count(() => 0)).toBe(0);
  expect(count((i) => 0.002 * Math.sin((2 * Math.PI * 50 * i) / 16_000))).toBe(0);
  const voice = recordings[1]!;
  expect(count((i) => voice[i] ?? 0)).toBeGreaterThan(10);
  detector.close();
});

test('noise that comes and goes with a speaker is neither speech nor a segment of its own', () => {
  // Level 1000 is speech, level 10 the noise around it, 0 nothing at all; a detector that takes noise for speech.
  const level = (i: number): number => (i < 20 ? 0 : i < 30 ? 10 : i < 60 ? 1000 : i < 120 ? 10 : 0);
  const samples = Float32Array.from({ length: 320 * 160 }, (_, i) => level(Math.floor(i / 320)));
  const s = new Segmenter(
    { ...defaults, preRollMs: 40, endSilenceMs: 200, keepSilenceMs: 100, minSpeechMs: 60 },
    (frame) => frame[0] !== 0,
  );
  const segments = s.push(samples);
  expect(segments.length).toBe(1);
  // Noise before the speech may start it; after it, 100 ms are kept.
  expect(framesOf(segments[0]!.samples)).toEqual([
    0,
    0,
    ...Array(10).fill(10),
    ...Array(30).fill(1000),
    ...Array(5).fill(10),
  ]);
});

test('a click does not make the speech after it a pause', () => {
  const level = (i: number): number => (i === 5 ? 1 : i >= 10 && i < 40 ? 0.03 : 0);
  const samples = Float32Array.from({ length: 320 * 80 }, (_, i) => level(Math.floor(i / 320)));
  const s = new Segmenter({ ...defaults, endSilenceMs: 200, keepSilenceMs: 100 }, (frame) => frame[0] !== 0);
  expect(s.push(samples).map(({ speechMs }) => speechMs)).toEqual([31 * 20]);
});

test('chunk order: gaps, late chunks, a sender that began anew', () => {
  const order = new ChunkOrder();
  const places = [5, 6, 8, 7, 8, 9, 100, 101, 0, 1, 3, undefined, 4, 5, 5].map((n) => order.place(n, 0.1));
  const [next, late, restart] = [{ type: 'next' }, (after: number) => ({ type: 'late', after }), { type: 'restart' }];
  expect(places).toEqual([
    next,
    next,
    { type: 'gap', silenceSeconds: 0.1 },
    late(8),
    late(8),
    next,
    restart,
    next,
    restart,
    next,
    { type: 'gap', silenceSeconds: 0.1 },
    next,
    next,
    next,
    late(5),
  ]);
  expect(order.missing).toBe(1 + 90 + 1);
});
