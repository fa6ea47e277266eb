import { ladderOf } from '../../../daemon/governor/ladder';
import type { ModelInfo } from '../../../daemon/inference/types';
import { e4b, noBounds, small } from './support';

const names = (slices: readonly { readonly name: string }[]): string[] => slices.map(({ name }) => name);

test('without bounds: what the family was trained at, each once, from the largest on, and its tails apart', () => {
  const ladder = ladderOf(e4b, noBounds);
  expect(names(ladder.slices)).toEqual(['full', 'e3.39b', 'e3.18b', 'e2.54b', 'e2b']);
  expect(names(ladder.tails)).toEqual(['full-tail']);
  expect(ladder.imageSizes).toEqual([768, 512, 256]);
  expect(ladder.pinned).toEqual({ slice: false, imageSize: false });
});

test('a model of another shape runs as a whole unless slices are listed: nothing says that it was trained at half', () => {
  expect(names(ladderOf(small, noBounds).slices)).toEqual(['full']);
  const listed = ladderOf(small, { ...noBounds, slices: ['full-tail', 'half', 'full'] });
  expect(names(listed.slices)).toEqual(['full', 'half']);
  expect(names(listed.tails)).toEqual(['full-tail']);
});

test('of a file that was loaded in part, only what is there: published slices, and the one that was asked for', () => {
  const only = (loadedSlice: string, names: readonly string[]): ModelInfo => ({
    ...e4b,
    loadedSlice,
    sliceInfos: e4b.sliceInfos.filter(({ name }) => names.includes(name)),
  });
  expect(names(ladderOf(only('e2b', ['e2b']), noBounds).slices)).toEqual(['e2b']);
  expect(names(ladderOf(only('half', ['half', 'e2b']), noBounds).slices)).toEqual(['half', 'e2b']);
  const tail = ladderOf(only('full-tail', ['full-tail', 'e2b']), noBounds);
  expect(names(tail.slices)).toEqual(['full-tail', 'e2b']);
  expect(tail.tails).toEqual([]);
  expect(() => ladderOf(only('e2b', ['e2b']), { ...noBounds, slices: ['full'] })).toThrow(
    'governor.slices: expected one of e2b, received "full"',
  );
});

test('bounds cut the ladder, a name in the configuration leaves that alone', () => {
  const bounded = ladderOf(e4b, {
    ...noBounds,
    largestSlice: 'e3.39b',
    smallestSlice: 'e2.54b',
    smallestImageSize: 512,
  });
  expect(names(bounded.slices)).toEqual(['e3.39b', 'e3.18b', 'e2.54b']);
  expect(bounded.imageSizes).toEqual([768, 512]);
  const pinned = ladderOf(e4b, { ...noBounds, slice: 'e4b', imageSize: 512 });
  expect(names(pinned.slices)).toEqual(['e4b']);
  expect(pinned.tails).toEqual([]);
  expect(pinned.imageSizes).toEqual([512]);
  // A name the runtime takes although it is not listed.
  expect(ladderOf(e4b, { ...noBounds, slice: 'e2b-tail' }).slices).toEqual([]);
});

test('no picture is larger than the model’s own, nor is there one without an encoder', () => {
  expect(ladderOf({ ...e4b, imageSize: 256 }, { ...noBounds, smallestImageSize: 512 }).imageSizes).toEqual([256]);
  expect(ladderOf({ ...e4b, imageSizes: [], imageSize: 0 }, noBounds).imageSizes).toEqual([]);
});

test.each([
  [{ slices: ['e9b'] }, /governor\.slices: expected one of full, half, .*, received "e9b"/],
  [{ largestSlice: 'huge' }, /governor\.largestSlice: .*"huge"/],
  [{ smallestSlice: 'x'.repeat(200) }, /governor\.smallestSlice: .*"x{64}"/],
  [{ slices: ['full-tail'] }, /leave a slice that is no tail, received full-tail/],
  [{ largestSlice: 'e2b', smallestSlice: 'full' }, /between e2b and full/],
])('%j is an error that says what was expected', (bounds, message) => {
  expect(() => ladderOf(e4b, { ...noBounds, ...bounds })).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) as string }),
  );
});
