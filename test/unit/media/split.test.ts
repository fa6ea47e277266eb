import { splitAtQuiet } from '../../../daemon/media/split';

const rate = 1000;

test('what is short enough stays whole', () => {
  const samples = new Float32Array(3000).fill(0.5);
  expect(splitAtQuiet(samples, rate, 3)).toEqual([samples]);
  expect(splitAtQuiet(new Float32Array(0), rate, 3)).toEqual([new Float32Array(0)]);
});

test('a cut falls into the quietest place of the last third, and nothing is lost', () => {
  const samples = new Float32Array(5000).map((_, i) => (i % 7) / 7);
  samples.fill(0, 500, 700); // too early
  samples.fill(0, 2300, 2500);
  const pieces = splitAtQuiet(samples, rate, 3);
  expect(pieces).toHaveLength(2);
  expect(pieces[0]?.length).toBeGreaterThanOrEqual(2300);
  expect(pieces[0]?.length).toBeLessThanOrEqual(2500);
  expect([...pieces.flatMap((piece) => [...piece])]).toEqual([...samples]);
});

test('the same everywhere is cut all the same, into pieces none of which is too long', () => {
  for (const value of [0, 1, Number.NaN]) {
    const pieces = splitAtQuiet(new Float32Array(10_001).fill(value), rate, 2);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThanOrEqual(2000);
    expect(pieces.reduce((sum, { length }) => sum + length, 0)).toBe(10_001);
  }
});
