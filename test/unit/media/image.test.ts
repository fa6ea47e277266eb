import sharp from 'sharp';
import type { RgbImage } from '../../../daemon/inference/types';
import { decodeImage, defaultImageLimits } from '../../../daemon/media/image';
import { sniff } from '../../../daemon/media/sniff';
import { codeOf, fixture, mutate, seeded } from './support';

const png = fixture('tree.png');

/** 4 x 2: red, green, blue, white over black, grey, yellow, cyan. */
const pixels = Buffer.from([
  255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 128, 128, 128, 255, 255, 0, 0, 255, 255,
]);
const small = () => sharp(pixels, { raw: { width: 4, height: 2, channels: 3 } });

async function decoded(payload: Uint8Array): Promise<RgbImage> {
  return (await decodeImage(payload)).image;
}

function meanAbsDifference(a: Uint8Array, b: Uint8Array): number {
  expect(a.length).toBe(b.length);
  return a.reduce((sum, value, i) => sum + Math.abs(value - (b[i] as number)), 0) / a.length;
}

test('a PNG decodes to exactly its pixels', async () => {
  expect(await decoded(await small().png().toBuffer())).toEqual({ width: 4, height: 2, data: new Uint8Array(pixels) });
});

test('a lossless WebP decodes to exactly its pixels', async () => {
  const image = await decoded(await small().webp({ lossless: true }).toBuffer());
  expect(Buffer.from(image.data)).toEqual(pixels);
});

test('a picture of 256 x 256 keeps its size and its bytes through JPEG within a few levels', async () => {
  const original = await decoded(png);
  expect([original.width, original.height, original.data.length]).toEqual([256, 256, 3 * 256 * 256]);
  const jpeg = await decoded(await sharp(png).jpeg({ quality: 95, chromaSubsampling: '4:4:4' }).toBuffer());
  expect(meanAbsDifference(jpeg.data, original.data)).toBeLessThan(3);
});

test('EXIF orientation is applied', async () => {
  const turned = await decoded(await small().withMetadata({ orientation: 6 }).png().toBuffer());
  expect([turned.width, turned.height]).toEqual([2, 4]);
  // Turned a quarter clockwise: the first row reads the first column from the bottom up.
  expect(Array.from(turned.data.subarray(0, 6))).toEqual([0, 0, 0, 255, 0, 0]);
});

test('grey, 16-bit, CMYK and alpha all become 8-bit RGB', async () => {
  const grey = await decoded(
    await sharp(Buffer.from([0, 100, 200, 255]), { raw: { width: 2, height: 2, channels: 1 } })
      .png()
      .toBuffer(),
  );
  expect(Array.from(grey.data)).toEqual([0, 0, 0, 100, 100, 100, 200, 200, 200, 255, 255, 255]);

  const wide = await sharp(new Uint16Array([0, 257 * 100, 65535]), { raw: { width: 1, height: 1, channels: 3 } })
    .toColourspace('rgb16')
    .png()
    .toBuffer();
  expect((await sharp(wide).metadata()).depth).toBe('ushort');
  expect(Array.from((await decoded(wide)).data)).toEqual([0, 100, 255]);

  const alpha = Buffer.from([200, 0, 0, 0, 200, 0, 0, 255]);
  const flat = await decoded(
    await sharp(alpha, { raw: { width: 2, height: 1, channels: 4 } })
      .png()
      .toBuffer(),
  );
  expect(Array.from(flat.data)).toEqual([255, 255, 255, 200, 0, 0]);

  const cmyk = await sharp({ create: { width: 16, height: 16, channels: 3, background: '#ff0000' } })
    .toColourspace('cmyk')
    .jpeg({ quality: 100 })
    .toBuffer();
  expect((await sharp(cmyk).metadata()).channels).toBe(4);
  const red = await decoded(cmyk);
  expect(red.data.length).toBe(3 * 16 * 16);
  expect(red.data[0]).toBeGreaterThan(200);
  expect(red.data[1]).toBeLessThan(80);
  expect(red.data[2]).toBeLessThan(80);
});

test('a larger picture is scaled down to maxSide, a smaller one never up', async () => {
  const large = await sharp({ create: { width: 3000, height: 1000, channels: 3, background: '#204060' } })
    .jpeg()
    .toBuffer();
  const image = await decoded(large);
  expect([image.width, image.height]).toEqual([1536, 512]);
  expect(
    [image.data[0], image.data[1], image.data[2]].map((v, i) => Math.abs((v as number) - [32, 64, 96][i]!) <= 3),
  ).toEqual([true, true, true]);
});

test('JSON and data URLs carry the same pixels, and JSON the time', async () => {
  const direct = await decoded(png);
  const base64 = png.toString('base64');
  const json = await decodeImage(Buffer.from(JSON.stringify({ image: base64, ts: 1795500000.5 })));
  expect(json.capturedTs).toBe(1795500000.5);
  expect(Buffer.from(json.image.data)).toEqual(Buffer.from(direct.data));
  for (const text of [
    `data:image/png;base64,${base64}`,
    `  \n{"image":"data:image/png;base64,${base64}"}`,
    `\ufeff{"image":"${base64}"}`,
    JSON.stringify({ image: png.toString('base64url') }),
  ]) {
    const { image, capturedTs } = await decodeImage(Buffer.from(text));
    expect(capturedTs).toBeUndefined();
    expect(Buffer.from(image.data)).toEqual(Buffer.from(direct.data));
  }
});

const base64 = png.toString('base64');
test.each<[string, string]>([
  ['{', 'MEDIA_BAD_ENVELOPE'],
  ['{}', 'MEDIA_BAD_ENVELOPE'],
  ['[]', 'MEDIA_NOT_AN_IMAGE'],
  ['null', 'MEDIA_NOT_AN_IMAGE'],
  ['{"image":null}', 'MEDIA_BAD_ENVELOPE'],
  ['{"image":7}', 'MEDIA_BAD_ENVELOPE'],
  ['{"image":["a"]}', 'MEDIA_BAD_ENVELOPE'],
  ['{"image":""}', 'MEDIA_BAD_ENVELOPE'],
  ['{"image":"???"}', 'MEDIA_BAD_ENVELOPE'],
  ['{"image":"aGVsbG8="}', 'MEDIA_NOT_AN_IMAGE'],
  [`{"image":"${Buffer.from(`{"image":"${base64}"}`).toString('base64')}"}`, 'MEDIA_NOT_AN_IMAGE'],
  [`{"image":"${base64}","ts":"now"}`, 'MEDIA_BAD_ENVELOPE'],
  [`{"image":"${base64}","ts":1795500000123}`, 'MEDIA_BAD_ENVELOPE'],
  [`{"image":"${base64}","ts":-1}`, 'MEDIA_BAD_ENVELOPE'],
  [`{"image":"${base64}","ts":1e999}`, 'MEDIA_BAD_ENVELOPE'],
  [`{"__proto__":{"image":"${base64}"}}`, 'MEDIA_BAD_ENVELOPE'],
  [`{"image":${'['.repeat(200_000)}${']'.repeat(200_000)}}`, 'MEDIA_BAD_ENVELOPE'],
  ['data:', 'MEDIA_BAD_ENVELOPE'],
  ['data:image/png,abc', 'MEDIA_BAD_ENVELOPE'],
  ['data:text/html;base64,aGVsbG8=', 'MEDIA_BAD_ENVELOPE'],
  ['data:image/png;base64,aGVsbG8=', 'MEDIA_NOT_AN_IMAGE'],
  ['<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', 'MEDIA_NOT_AN_IMAGE'],
  ['GIF89a\x01\x00\x01\x00', 'MEDIA_NOT_AN_IMAGE'],
  ['', 'MEDIA_NOT_AN_IMAGE'],
])('%.40s is refused with %s', async (text, code) => {
  expect(await codeOf(() => decodeImage(Buffer.from(text)))).toBe(code);
});

test('a truncated picture is refused, not half decoded', async () => {
  const jpeg = await sharp(png).jpeg().toBuffer();
  const webp = await sharp(png).webp().toBuffer();
  for (const whole of [png, jpeg, webp]) {
    expect(await codeOf(() => decodeImage(whole.subarray(0, whole.length >> 1)))).toBe('MEDIA_BROKEN_IMAGE');
  }
});

test('a picture over the pixel limit is refused by its header', async () => {
  const bomb = await sharp({ create: { width: 6000, height: 5000, channels: 3, background: 'black' } })
    .png()
    .toBuffer();
  expect(await codeOf(() => decodeImage(bomb))).toBe('MEDIA_IMAGE_TOO_LARGE');
  expect(await codeOf(() => decodeImage(png, { ...defaultImageLimits, maxPixels: 256 * 256 - 1 }))).toBe(
    'MEDIA_IMAGE_TOO_LARGE',
  );
});

test('loaders other than JPEG, PNG and WebP cannot be reached behind the magic bytes', async () => {
  await expect(
    sharp(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')).png().toBuffer(),
  ).rejects.toThrow();
});

test('raw frames in every pixel format', async () => {
  const decodeRaw = async (
    bytes: number[],
    pixelFormat: 'rgb24' | 'bgr24' | 'gray8' | 'nv12' | 'yuyv',
    width: number,
    height: number,
  ) =>
    Array.from(
      (await decodeImage(Uint8Array.from(bytes), defaultImageLimits, { pixelFormat, width, height })).image.data,
    );
  expect(await decodeRaw([1, 2, 3, 4, 5, 6], 'rgb24', 2, 1)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(await decodeRaw([1, 2, 3, 4, 5, 6], 'bgr24', 2, 1)).toEqual([3, 2, 1, 6, 5, 4]);
  expect(await decodeRaw([7, 9], 'gray8', 1, 2)).toEqual([7, 7, 7, 9, 9, 9]);
  // BT.601 limited range: 235 is white, 16 black, (81, 90, 240) red.
  expect(await decodeRaw([235, 128, 16, 128], 'yuyv', 2, 1)).toEqual([255, 255, 255, 0, 0, 0]);
  expect(await decodeRaw([81, 81, 81, 81, 90, 240], 'nv12', 2, 2)).toEqual(Array(4).fill([254, 0, 0]).flat());
});

test('a raw frame of another size than declared is refused', async () => {
  const raw = { pixelFormat: 'nv12', width: 4, height: 4 } as const;
  expect(await codeOf(() => decodeImage(Buffer.alloc(23), defaultImageLimits, raw))).toBe('MEDIA_FRAME_SIZE');
  expect(await codeOf(() => decodeImage(Buffer.alloc(24), defaultImageLimits, { ...raw, height: 3 }))).toBe(
    'MEDIA_FRAME_SIZE',
  );
  expect(await codeOf(() => decodeImage(Buffer.alloc(0), defaultImageLimits, { ...raw, width: 0 }))).toBe(
    'MEDIA_FRAME_SIZE',
  );
  expect(
    await codeOf(() => decodeImage(Buffer.alloc(9), defaultImageLimits, { ...raw, width: 1e9, height: 1e9 })),
  ).toBe('MEDIA_IMAGE_TOO_LARGE');
});

test('200 mutated pictures: each gives a picture within the limits or a HearthError, in bounded memory', async () => {
  const originals = [
    png,
    await sharp(png).jpeg().toBuffer(),
    await sharp(png).jpeg({ progressive: true }).toBuffer(),
    await sharp(png).webp().toBuffer(),
  ];
  originals.push(Buffer.from(JSON.stringify({ image: (originals[1] as Buffer).toString('base64'), ts: 1795500000 })));
  const random = seeded(20261124);
  const before = process.memoryUsage().rss;
  const outcomes: Record<string, number> = {};
  for (let i = 0; i < 200; i++) {
    const payload = mutate(originals[i % originals.length] as Buffer, random);
    let outcome: string;
    try {
      const { image } = await decodeImage(payload);
      expect(image.data.length).toBe(3 * image.width * image.height);
      expect(Math.max(image.width, image.height)).toBeLessThanOrEqual(1536);
      outcome = 'decoded';
    } catch (error) {
      outcome = await codeOf(() => Promise.reject(error as Error));
    }
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
  }
  expect(Object.values(outcomes).reduce((a, b) => a + b)).toBe(200);
  expect(outcomes['MEDIA_BROKEN_IMAGE']).toBeGreaterThan(20);
  expect(outcomes['decoded']).toBeGreaterThan(5);
  expect(process.memoryUsage().rss - before).toBeLessThan(256 * 2 ** 20);
});

test('sniff tells kinds apart by bytes and never throws', () => {
  expect(sniff(png)).toBe('png');
  expect(sniff(fixture('speech-002.wav'))).toBe('wav');
  expect(sniff(Buffer.from('RIFF\0\0\0\0AVI '))).toBeUndefined();
  expect(sniff(Buffer.from(' '.repeat(1000)))).toBeUndefined();
  expect(sniff(new Uint8Array(0))).toBeUndefined();
});
