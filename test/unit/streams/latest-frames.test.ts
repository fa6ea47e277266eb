import { LatestFrames } from '../../../daemon/streams/latest-frames';

const image = (bytes: number) => ({ width: 1, height: bytes / 3, data: new Uint8Array(bytes) });

test('the latest of each stream, within a bound: the one looked at longest ago goes', () => {
  const frames = new LatestFrames(30);
  const [first, second] = [image(12), image(12)];
  frames.set('a', image(12));
  frames.set('a', first);
  frames.set('b', second);
  expect([frames.get('a'), frames.get('b'), frames.get('c')]).toEqual([first, second, undefined]);
  expect(frames.get('a')).toBe(first);
  frames.set('a', first);
  frames.set('c', image(12));
  expect(['a', 'b', 'c'].map((stream) => frames.get(stream) !== undefined)).toEqual([true, false, true]);
  frames.set('a', image(33));
  expect(['a', 'c'].map((stream) => frames.get(stream) !== undefined)).toEqual([false, true]);
});
