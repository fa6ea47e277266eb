import { cutAtPauses } from '../../../daemon/media/cut';

/** `speech` seconds of a tone and `silence` seconds of nothing in turn; sample i of a tone of frequency `hz + turn`. */
function recording(...turns: readonly (readonly [speech: number, silence: number])[]): Float32Array {
  const parts = turns.flatMap(([speech, silence], turn) => [
    Float32Array.from(
      { length: speech * 16_000 },
      (_, i) => 0.3 * Math.sin((i * (200 + 10 * turn) * 2 * Math.PI) / 16_000),
    ),
    new Float32Array(silence * 16_000),
  ]);
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

/** Where a piece lies in what it was cut out of, in seconds. */
const placeOf = (piece: Float32Array): [number, number] => [
  piece.byteOffset / 64_000,
  (piece.byteOffset + piece.byteLength) / 64_000,
];

test('a recording that is short enough stays whole', () => {
  const samples = recording([2, 0.5], [2, 0.5]);
  expect(cutAtPauses(samples, 5 * 16_000).map(placeOf)).toEqual([[0, 5]]);
});

test('cut at the longest pause; both sides have silence around their speech', () => {
  const samples = recording([2, 0.2], [2, 1.5], [2, 0.2], [1.5, 0.6], [3, 0.1]);
  const pieces = cutAtPauses(samples, 7 * 16_000).map(placeOf);
  // Pauses are at 2, 4.2, 7.7 and 9.4 s.
  expect(pieces).toEqual([
    [0, 4.6],
    [5.4, 9.8],
    [9.7, expect.closeTo(13.1, 2)],
  ]);
});

test('every word is in one piece, whole; pieces overlap in silence only', () => {
  const turns = Array.from({ length: 60 }, (_, i): [number, number] => [
    0.3 + ((i * 7) % 11) / 10,
    0.1 + ((i * 5) % 7) / 10,
  ]);
  const samples = recording(...turns);
  const pieces = cutAtPauses(samples, 10 * 16_000).map(placeOf);
  expect(pieces.length).toBeGreaterThan(samples.length / 160_000);
  let at = 0;
  for (const [speech, silence] of turns) {
    const within = pieces.filter(([begin, end]) => begin < at + speech - 0.021 && end > at + 0.021);
    expect(within).toHaveLength(1);
    const [[begin, end] = [0, 0]] = within;
    expect(begin).toBeLessThanOrEqual(at + 0.001);
    expect(end).toBeGreaterThanOrEqual(at + speech - 0.001);
    expect(end - begin).toBeLessThanOrEqual(10);
    at += speech + silence;
  }
});

test('nobody pauses: cut where it is quietest, and nothing is lost', () => {
  const samples = recording([25, 0]);
  for (let i = 0; i < 3200; i++) (samples[8.5 * 16_000 + i] as number) *= 0.2;
  const pieces = cutAtPauses(samples, 10 * 16_000).map(placeOf);
  expect(pieces[0]?.[1]).toBeGreaterThan(8.5);
  expect(pieces[0]?.[1]).toBeLessThan(8.75);
  for (const [i, [begin, end]] of pieces.entries()) {
    expect(begin).toBeLessThanOrEqual(pieces[i - 1]?.[1] ?? 0);
    expect(end - begin).toBeLessThanOrEqual(10);
  }
  expect(pieces.at(-1)?.[1]).toBe(25);
});

test('of silence there is no piece', () => {
  expect(cutAtPauses(new Float32Array(100 * 16_000), 30 * 16_000)).toEqual([]);
  const spoken = cutAtPauses(recording([3, 60], [3, 60]), 30 * 16_000).map(placeOf);
  expect(spoken).toEqual([
    [0, 3.4],
    [62.7, 66.4],
  ]);
});
