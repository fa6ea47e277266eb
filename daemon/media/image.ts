/**
 * Hostile bytes to an `RgbImage`. libvips decodes; this file decides what it may see: the payload is recognised by its
 * magic bytes first, so that only the JPEG, PNG and WebP loaders are ever reached, and the others are switched off.
 */
import sharp from 'sharp';
import { HearthError } from '../errors';
import type { RgbImage } from '../inference/types';
import { unwrap } from './envelope';
import { decodeRawFrame, type RawFrameFormat } from './raw-frame';
import { firstBytes, sniff } from './sniff';

export interface ImageLimits {
  /** A larger picture is refused by its header, before any pixel is decoded. */
  readonly maxPixels: number;
  /** The longer side of the result; a smaller picture keeps its size. */
  readonly maxSide: number;
  /** Seconds of decoding after which a picture counts as broken. */
  readonly timeoutSeconds: number;
}

/**
 * 24 megapixels hold the sensors usual on a Pi or a Jetson; a progressive JPEG of that size costs about 150 MB while it
 * is decoded. 1536 is twice the largest side an encoder takes.
 */
export const defaultImageLimits: ImageLimits = { maxPixels: 24_000_000, maxSide: 1536, timeoutSeconds: 10 };

export interface DecodedImage {
  readonly image: RgbImage;
  /** Unix time in seconds, when the sender gave one. */
  readonly capturedTs?: number;
}

sharp.block({ operation: ['VipsForeignLoad'] });
sharp.unblock({ operation: ['VipsForeignLoadJpegBuffer', 'VipsForeignLoadPngBuffer', 'VipsForeignLoadWebpBuffer'] });
// Every picture is decoded once: a cache of them only costs memory. The cores belong to the model.
sharp.cache(false);
sharp.concurrency(1);

function asHearthError(error: unknown, what: string, limits: ImageLimits): HearthError {
  const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0]?.slice(0, 160) ?? '';
  if (/pixel limit|too large|dimensions/i.test(reason)) {
    return new HearthError(
      'MEDIA_IMAGE_TOO_LARGE',
      `${what}: expected at most ${limits.maxPixels} pixels (${reason})`,
      { cause: error },
    );
  }
  return new HearthError(
    'MEDIA_BROKEN_IMAGE',
    `${what}: expected a whole picture, received one that does not decode (${reason})`,
    {
      cause: error,
    },
  );
}

async function toRgb(pipeline: sharp.Sharp, what: string, limits: ImageLimits): Promise<RgbImage> {
  let result: { data: Buffer; info: sharp.OutputInfo };
  try {
    result = await pipeline
      .autoOrient()
      .resize({ width: limits.maxSide, height: limits.maxSide, fit: 'inside', withoutEnlargement: true })
      .flatten({ background: '#ffffff' })
      .toColourspace('srgb')
      .timeout({ seconds: limits.timeoutSeconds })
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
  } catch (error) {
    throw asHearthError(error, what, limits);
  }
  const { data, info } = result;
  const pixels = info.width * info.height;
  if (info.channels === 1) {
    const rgb = new Uint8Array(3 * pixels);
    for (let i = 0; i < pixels; i++) rgb.fill(data[i] as number, 3 * i, 3 * i + 3);
    return { width: info.width, height: info.height, data: rgb };
  }
  if (info.channels !== 3 || data.length !== 3 * pixels) {
    throw new HearthError('MEDIA_BROKEN_IMAGE', `${what}: expected 3 channels, received ${info.channels}`);
  }
  return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}

/**
 * Decodes a JPEG, PNG or WebP, a JSON or data URL that carries one, or one raw frame when `raw` says so.
 * EXIF orientation is applied, alpha is laid on white, 16 bit, grey and CMYK become 8-bit sRGB, animations give their
 * first frame. Rejects with `MEDIA_NOT_AN_IMAGE`, `MEDIA_BAD_ENVELOPE`, `MEDIA_IMAGE_TOO_LARGE`, `MEDIA_BROKEN_IMAGE`
 * or `MEDIA_FRAME_SIZE`.
 */
export async function decodeImage(
  payload: Uint8Array,
  limits: ImageLimits = defaultImageLimits,
  raw?: RawFrameFormat,
): Promise<DecodedImage> {
  if (raw !== undefined) {
    if (raw.width * raw.height > limits.maxPixels) {
      throw new HearthError(
        'MEDIA_IMAGE_TOO_LARGE',
        `raw frame: expected at most ${limits.maxPixels} pixels, received ${raw.width}x${raw.height}`,
      );
    }
    const image = decodeRawFrame(payload, raw);
    if (Math.max(image.width, image.height) <= limits.maxSide) return { image };
    const input = { width: image.width, height: image.height, channels: 3 as const };
    return { image: await toRgb(sharp(image.data, { raw: input }), `raw ${raw.pixelFormat} frame`, limits) };
  }
  const { bytes, capturedTs } = unwrap(payload);
  const kind = sniff(bytes);
  if (kind !== 'jpeg' && kind !== 'png' && kind !== 'webp') {
    throw new HearthError('MEDIA_NOT_AN_IMAGE', `frame: expected JPEG, PNG or WebP, received ${firstBytes(bytes)}`);
  }
  // 'error' refuses truncated and undecodable data; 'warning' would also refuse the stray bytes many cameras leave.
  const pipeline = sharp(bytes, { failOn: 'error', limitInputPixels: limits.maxPixels, pages: 1 });
  const image = await toRgb(pipeline, `${kind} of ${bytes.length} bytes`, limits);
  return capturedTs === undefined ? { image } : { image, capturedTs };
}
