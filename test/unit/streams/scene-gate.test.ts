/** What the gate of a camera takes for a change, on a garden that is drawn: weather, light, night vision, and people. */
import type { RgbImage } from '../../../daemon/inference/types';
import { difference, thumbnailOf } from '../../../daemon/media/thumbnail';
import { type MotionOptions, type NoChange, SceneGate } from '../../../daemon/streams/scene-gate';
import { seeded } from './support';

const [width, height] = [320, 180];
const motion: MotionOptions = { threshold: 12, minArea: 0.002, ignore: [] };

type Luma = (x: number, y: number, before: number) => number;

const draw = (luma: Luma, before?: RgbImage): RgbImage => {
  const data = new Uint8Array(3 * width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      const value = Math.max(0, Math.min(255, luma(x, y, before?.data[at] ?? 0)));
      data[at] = data[at + 1] = data[at + 2] = value;
    }
  }
  return { width, height, data };
};

/** Sky, a hedge and grass. */
const texture = seeded(7);
const grain = Float32Array.from({ length: width * height }, () => texture() - 0.5);
const garden = draw((x, y) => {
  const surface = y < 60 ? 190 - y / 2 : y < 90 ? 60 : 100;
  return surface + 20 * Math.sin(x / 12) + 40 * (grain[y * width + x] ?? 0);
});

const withBox = (image: RgbImage, x0: number, y0: number, w: number, h: number, luma: number): RgbImage =>
  draw((x, y, before) => (x >= x0 && x < x0 + w && y >= y0 && y < y0 + h ? luma : before), image);
/** A person of 11 by 30 pixels, 0.6 % of the picture. */
const withPerson = (image: RgbImage, x = 300): RgbImage => withBox(image, x, 100, 11, 30, 45);

const random = seeded(11);
const noisy = (image: RgbImage, amplitude = 24): RgbImage =>
  draw((_x, _y, before) => before + amplitude * (random() - 0.5), image);
const lit = (image: RgbImage, gain: number, offset: number): RgbImage =>
  draw((_x, _y, before) => gain * before + offset, image);
/** Streaks everywhere, 6 % of the picture, others in each frame. */
const rainy = (image: RgbImage, streaks = 250): RgbImage => {
  const data = image.data.slice();
  for (let i = 0; i < streaks; i++) {
    const [x, y] = [Math.floor(random() * width), Math.floor(random() * (height - 15))];
    for (let k = 0; k < 15; k++) {
      const from = 3 * ((y + k) * width + x);
      for (let at = from; at < from + 3; at++) data[at] = Math.min(255, (data[at] ?? 0) + 70);
    }
  }
  return { width, height, data };
};

/** What becomes of frame after frame; one that passes is the one used from then on. */
function verdicts(frames: readonly RgbImage[], options = motion, threshold = 2): (NoChange | 'used')[] {
  const gate = new SceneGate();
  return frames.map((image) => {
    const frame = thumbnailOf(image);
    const verdict = gate.judge(frame, threshold, options);
    if (verdict === undefined) gate.use(frame);
    return verdict ?? 'used';
  });
}

const times = (n: number, frame: () => RgbImage): RgbImage[] => Array.from({ length: n }, frame);

test('a person at the edge of a garden is a change, although the mean of the picture hardly moves', () => {
  const person = withPerson(garden);
  expect(difference(thumbnailOf(garden), thumbnailOf(person))).toBeLessThan(1);
  expect(verdicts([garden, person], { ...motion, threshold: 0 })).toEqual(['used', 'duplicate']);
  // Comes, stands still, walks on, leaves.
  expect(verdicts([garden, person, person, withPerson(garden, 250), garden])).toEqual([
    'used',
    'used',
    'duplicate',
    'used',
    'used',
  ]);
});

test('the noise of a sensor is no motion, and does not hide a person', () => {
  expect(verdicts(times(8, () => noisy(garden)))).toEqual(['used', ...Array(7).fill('duplicate')]);
  expect(verdicts([...times(8, () => noisy(garden)), noisy(withPerson(garden))]).at(-1)).toBe('used');
});

test.each([
  ['a cloud', [0.85, 0.75, 0.7, 0.8, 0.9], 0],
  ['exposure', [1.1, 1.2, 1.1, 1, 0.9], 8],
])('%s changes the light of the whole picture: no motion', (_what, gains, offset) => {
  const light = gains.map((gain) => lit(garden, gain, offset));
  expect(verdicts([garden, ...light])).toEqual(['used', ...gains.map(() => 'no-motion')]);
});

test('a person who comes with a cloud is seen', () => {
  expect(verdicts([garden, lit(withPerson(garden), 0.8, 5)])).toEqual(['used', 'used']);
});

test('a lamp that is switched on in a dark room is a change', () => {
  const room = lit(garden, 0.2, 0);
  expect(verdicts([room, garden, garden, room])).toEqual(['used', 'used', 'duplicate', 'used']);
});

test('night vision: one change when it comes and one when it goes', () => {
  // Grass and leaves shine, the sky is dark.
  const infrared = draw((_x, y, before) => (y < 60 ? 30 : 250 - before), garden);
  const night = times(5, () => noisy(infrared));
  expect(verdicts([garden, ...night, garden, garden])).toEqual([
    'used',
    'used',
    ...Array(4).fill('duplicate'),
    'used',
    'duplicate',
  ]);
});

test('after a few frames heavy rain passes in one frame of ten at most, and a person in it still does', () => {
  const rain = times(30, () => rainy(garden));
  const seen = verdicts([garden, ...rain, ...times(3, () => rainy(withPerson(garden, 150)))]);
  expect(seen.slice(8, 31).filter((verdict) => verdict === 'used').length).toBeLessThanOrEqual(2);
  expect(seen.slice(31)).toContain('used');
});

test('leaves that sway in one place fall silent, a cat on the other side is seen', () => {
  const swaying = (i: number): RgbImage => withBox(garden, 50 + 10 * (i % 2), 60, 30, 30, i % 2 === 0 ? 80 : 50);
  const leaves = Array.from({ length: 20 }, (_, i) => swaying(i));
  const seen = verdicts([...leaves, withBox(swaying(20), 200, 160, 20, 11, 200)]);
  expect(seen.slice(8, 20).filter((verdict) => verdict === 'used')).toEqual([]);
  expect(seen.at(-1)).toBe('used');
});

test('where nothing counts nothing changes, a clock in the picture and the street', () => {
  const clock = withBox(garden, 0, 0, 100, 15, 255);
  const ignore = [{ x: 0, y: 0, width: 0.35, height: 0.1 }];
  expect(verdicts([garden, clock])).toEqual(['used', 'used']);
  expect(verdicts([garden, clock, withPerson(clock)], { ...motion, ignore })).toEqual(['used', 'duplicate', 'used']);
  const everything = [{ x: 0, y: 0, width: 1, height: 1 }];
  expect(verdicts([garden, clock], { ...motion, ignore: everything })).toEqual(['used', 'duplicate']);
});

test('the area that has to change, in one piece: two cats are no cow', () => {
  const cats = withBox(withBox(garden, 50, 150, 25, 15, 220), 250, 150, 25, 15, 220);
  const cow = withBox(garden, 150, 100, 75, 50, 220);
  const options = { ...motion, minArea: 0.02 };
  expect(verdicts([garden, cats, cow], options)).toEqual(['used', 'duplicate', 'used']);
});

test('a slow change adds up, since it is the frame used last that counts', () => {
  const dawn = Array.from({ length: 8 }, (_, i) => withBox(garden, 100, 100, 50, 50, 100 + 5 * i));
  const used = verdicts(dawn).flatMap((verdict, i) => (verdict === 'used' ? [i] : []));
  expect(used[0]).toBe(0);
  expect(used.length).toBeGreaterThan(1);
  expect(used.length).toBeLessThan(4);
});

test('another size is another picture; threshold 0 takes all', () => {
  const gate = new SceneGate();
  const frame = thumbnailOf(garden);
  gate.judge(frame, 2, motion);
  gate.use(frame);
  expect(gate.judge(thumbnailOf({ width: 2, height: 1, data: new Uint8Array(6) }), 2, motion)).toBeUndefined();
  expect(verdicts([garden, garden], motion, 0)).toEqual(['used', 'used']);
});
