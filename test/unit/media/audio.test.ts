import { concat } from '../../../daemon/media/concat';
import { decodePcm } from '../../../daemon/media/pcm';
import { StreamResampler, toModelRate } from '../../../daemon/media/resample';
import { decodeWav } from '../../../daemon/media/wav';
import { codeOf, fixture, makeWav, mutate, seeded } from './support';

const limitMs = 30_000;
const s16 = (...values: number[]): Buffer => Buffer.from(Int16Array.from(values).buffer);
const sine = (hz: number, rate: number, seconds: number): Float32Array =>
  Float32Array.from({ length: rate * seconds }, (_, i) => 0.5 * Math.sin((2 * Math.PI * hz * i) / rate));

test('a recording decodes to its samples / 32768', () => {
  const file = fixture('speech-002.wav');
  const { sampleRate, samples } = decodeWav(file, limitMs);
  expect(sampleRate).toBe(16_000);
  const at = file.indexOf('data', 0, 'latin1') + 8;
  expect(samples.length).toBe((file.length - at) / 2);
  const expected = Array.from({ length: samples.length }, (_, i) => file.readInt16LE(at + 2 * i) / 32768);
  expect(Array.from(samples)).toEqual(expected);
  expect(Math.max(...expected)).toBeGreaterThan(0.05);
});

test.each([
  ['u8', { bits: 8 }, Buffer.from([0, 128, 255]), [-1, 0, 127 / 128]],
  ['s16', {}, s16(-32768, 0, 32767), [-1, 0, 32767 / 32768]],
  [
    's24',
    { bits: 24 },
    Buffer.from('000080' + '000000' + 'ffff7f' + 'ffffff', 'hex'),
    [-1, 0, 8388607 / 8388608, -1 / 8388608],
  ],
  ['s32', { bits: 32 }, Buffer.from(Int32Array.from([-(2 ** 31), 0, 2 ** 30]).buffer), [-1, 0, 0.5]],
  [
    'f32',
    { bits: 32, tag: 3 },
    Buffer.from(Float32Array.from([-0.25, 1, 3, -7, NaN, Infinity, -Infinity]).buffer),
    [-0.25, 1, 1, -1, 0, 1, -1],
  ],
  ['extensible s16', { extensible: true }, s16(16384), [0.5]],
  ['extensible f32', { extensible: true, tag: 3, bits: 32 }, Buffer.from(Float32Array.from([0.125]).buffer), [0.125]],
  ['stereo', { channels: 2 }, s16(16384, 0, -16384, -32768), [0.25, -0.75]],
  ['size 0 of a streaming writer', { dataSize: 0 }, s16(16384, 8192), [0.5, 0.25]],
  ['size 0xFFFFFFFF of a streaming writer', { dataSize: 0xffffffff }, s16(16384, 8192), [0.5, 0.25]],
  ['size past the end', { dataSize: 4000 }, s16(16384, 8192), [0.5, 0.25]],
  ['an odd chunk before the data', { extra: [{ id: 'LIST', body: Buffer.from('abc') }] }, s16(16384), [0.5]],
  ['half a sample at the end', {}, Buffer.concat([s16(16384), Buffer.from([1])]), [0.5]],
  ['no samples', { extra: [{ id: 'fact', body: Buffer.alloc(4) }] }, Buffer.alloc(0), []],
] as const)('wav: %s', (_name, options, data, expected) => {
  expect(Array.from(decodeWav(makeWav(data, options), limitMs).samples)).toEqual(expected.map(Math.fround));
});

test('a WAV inside a larger buffer at an odd offset decodes the same', () => {
  const padded = Buffer.concat([Buffer.from([7]), makeWav(s16(16384, -8192))]);
  expect(Array.from(decodeWav(padded.subarray(1), limitMs).samples)).toEqual([0.5, -0.25]);
});

test.each([
  ['empty', Buffer.alloc(0), 'MEDIA_NOT_A_WAV'],
  ['a picture', fixture('tree.png'), 'MEDIA_NOT_A_WAV'],
  ['RIFF of another kind', Buffer.from('RIFF\x04\0\0\0AVI LIST'), 'MEDIA_NOT_A_WAV'],
  ['header only', makeWav(s16(1)).subarray(0, 12), 'MEDIA_BROKEN_WAV'],
  ['no data chunk', makeWav(s16(1)).subarray(0, 36), 'MEDIA_BROKEN_WAV'],
  [
    'data before fmt',
    Buffer.concat([makeWav(s16(1)).subarray(0, 12), makeWav(s16(1)).subarray(36)]),
    'MEDIA_BROKEN_WAV',
  ],
  ['mu-law', makeWav(Buffer.alloc(8), { tag: 7, bits: 8 }), 'MEDIA_WAV_UNSUPPORTED'],
  ['12 bits', makeWav(Buffer.alloc(8), { bits: 12, blockAlign: 2 }), 'MEDIA_WAV_UNSUPPORTED'],
  ['64-bit float', makeWav(Buffer.alloc(8), { tag: 3, bits: 64 }), 'MEDIA_WAV_UNSUPPORTED'],
  [
    '65535 channels of one byte',
    makeWav(Buffer.alloc(100_000), { channels: 65535, bits: 8, blockAlign: 65535 }),
    'MEDIA_AUDIO_FORMAT',
  ],
  ['0 channels', makeWav(s16(1), { channels: 0 }), 'MEDIA_AUDIO_FORMAT'],
  ['a block that does not fit', makeWav(s16(1, 2), { blockAlign: 1 }), 'MEDIA_BROKEN_WAV'],
  ['1 Hz', makeWav(s16(1), { sampleRate: 1 }), 'MEDIA_AUDIO_FORMAT'],
  ['4 GHz', makeWav(s16(1), { sampleRate: 0xffffffff }), 'MEDIA_AUDIO_FORMAT'],
  ['31 s', makeWav(Buffer.alloc(2 * 16_000 * 31)), 'MEDIA_AUDIO_TOO_LONG'],
])('wav: %s is refused', async (_name, bytes, code) => {
  expect(await codeOf(() => decodeWav(bytes, limitMs))).toBe(code);
});

test('raw PCM: values, and sizes that do not fit', async () => {
  const format = { encoding: 's16le', sampleRate: 16_000, channels: 2 } as const;
  expect(Array.from(decodePcm(s16(16384, 16384, 0, -16384), format, limitMs))).toEqual([0.5, -0.25]);
  expect(await codeOf(() => decodePcm(Buffer.alloc(6), format, limitMs))).toBe('MEDIA_AUDIO_FORMAT');
  expect(await codeOf(() => decodePcm(Buffer.alloc(4), { ...format, channels: 1.5 }, limitMs))).toBe(
    'MEDIA_AUDIO_FORMAT',
  );
  expect(await codeOf(() => decodePcm(Buffer.alloc(4), { ...format, sampleRate: NaN }, limitMs))).toBe(
    'MEDIA_AUDIO_FORMAT',
  );
});

test.each([8000, 22_050, 44_100, 48_000, 96_000])(
  '%i Hz in odd chunks gives the sine at 16 kHz, without clicks',
  async (rate) => {
    const input = sine(440, rate, 2);
    const expected = sine(440, 16_000, 2);
    const resampler = await StreamResampler.create(rate);
    const pieces: Float32Array[] = [];
    const sizes = [480, 1, 7, 4800, 333, 20_000];
    for (let at = 0, k = 0; at < input.length; k++) {
      const size = sizes[k % sizes.length] as number;
      pieces.push(resampler.push(input.subarray(at, at + size)));
      at += size;
    }
    pieces.push(resampler.finish());
    resampler.close();
    const output = concat(pieces);
    expect(output.length).toBe(32_000);
    let worst = 0;
    // The first and last milliseconds are the filter's own ramp.
    for (let i = 200; i < output.length - 200; i++)
      worst = Math.max(worst, Math.abs((output[i] as number) - (expected[i] as number)));
    expect(worst).toBeLessThan(1e-3);
  },
);

test('a whole clip keeps its length and 16 kHz passes through untouched', async () => {
  const clip = await toModelRate({ sampleRate: 44_100, samples: sine(300, 44_100, 1) });
  expect(clip.samples.length).toBe(16_000);
  const same = sine(300, 16_000, 1);
  expect(Array.from((await toModelRate({ sampleRate: 16_000, samples: same })).samples)).toEqual(Array.from(same));
  expect((await toModelRate({ sampleRate: 8000, samples: new Float32Array(0) })).samples.length).toBe(0);
  expect(await codeOf(() => StreamResampler.create(500_000))).toBe('MEDIA_AUDIO_FORMAT');
});

test('200 mutated WAVs: each gives finite samples or a HearthError, in bounded memory', async () => {
  const originals = [
    fixture('speech-004.wav'),
    makeWav(Buffer.alloc(9000, 0x31), { channels: 2, bits: 24 }),
    makeWav(Buffer.alloc(8000, 0x42), { extensible: true, tag: 3, bits: 32, sampleRate: 48_000 }),
  ];
  const random = seeded(7);
  const before = process.memoryUsage().rss;
  const outcomes: Record<string, number> = {};
  for (let i = 0; i < 200; i++) {
    const payload = mutate(originals[i % originals.length] as Buffer, random);
    let outcome = 'decoded';
    try {
      const audio = decodeWav(payload, limitMs);
      expect(audio.samples.length).toBeLessThanOrEqual(payload.length);
      expect(audio.samples.every((x) => x >= -1 && x <= 1)).toBe(true);
    } catch (error) {
      outcome = await codeOf(() => Promise.reject(error as Error));
    }
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  expect(Object.keys(outcomes).length).toBeGreaterThan(3);
  expect(outcomes['decoded']).toBeGreaterThan(20);
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20);
});
