/** Uncompressed frames as V4L2 and OpenCV hand them out, to RGB. */
import { HearthError } from '../errors';
import type { RgbImage } from '../inference/types';

export const rawPixelFormats = ['rgb24', 'bgr24', 'gray8', 'nv12', 'yuyv'] as const;
export type RawPixelFormat = (typeof rawPixelFormats)[number];

export interface RawFrameFormat {
  readonly pixelFormat: RawPixelFormat;
  /** Pixels, 1..16384; even for nv12 (both) and yuyv (width). */
  readonly width: number;
  readonly height: number;
}

const bytesPerPixel: Readonly<Record<RawPixelFormat, number>> = { rgb24: 3, bgr24: 3, gray8: 1, nv12: 1.5, yuyv: 2 };

/** ITU-R BT.601, limited range (Y 16..235, CbCr 16..240), the default of V4L2's YUV formats. */
function storeYuv(out: Uint8Array, at: number, y: number, cb: number, cr: number): void {
  const luma = 1.164383 * (y - 16);
  const rgb = [
    luma + 1.596027 * (cr - 128),
    luma - 0.391762 * (cb - 128) - 0.812968 * (cr - 128),
    luma + 2.017232 * (cb - 128),
  ] as const;
  for (let c = 0; c < 3; c++) out[at + c] = Math.min(255, Math.max(0, Math.round(rgb[c] as number)));
}

type Convert = (source: Uint8Array, out: Uint8Array, width: number, height: number) => void;

const convert: Readonly<Record<RawPixelFormat, Convert>> = {
  rgb24: (source, out) => out.set(source),
  bgr24: (source, out) => {
    for (let i = 0; i < out.length; i += 3) {
      out[i] = source[i + 2] as number;
      out[i + 1] = source[i + 1] as number;
      out[i + 2] = source[i] as number;
    }
  },
  gray8: (source, out) => {
    for (let i = 0; i < source.length; i++) out.fill(source[i] as number, 3 * i, 3 * i + 3);
  },
  nv12: (source, out, width, height) => {
    const chroma = width * height;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const at = chroma + (y >> 1) * width + (x & ~1);
        storeYuv(
          out,
          3 * (y * width + x),
          source[y * width + x] as number,
          source[at] as number,
          source[at + 1] as number,
        );
      }
    }
  },
  yuyv: (source, out, width, height) => {
    for (let i = 0; i < width * height; i += 2) {
      const [y0, cb, y1, cr] = source.subarray(2 * i, 2 * i + 4) as unknown as [number, number, number, number];
      storeYuv(out, 3 * i, y0, cb, cr);
      storeYuv(out, 3 * i + 3, y1, cb, cr);
    }
  },
};

/** Throws `MEDIA_FRAME_SIZE` unless `bytes` is exactly one frame of `format`. */
export function decodeRawFrame(bytes: Uint8Array, format: RawFrameFormat): RgbImage {
  const { pixelFormat, width, height } = format;
  const inRange = (side: number): boolean => Number.isInteger(side) && side >= 1 && side <= 16384;
  if (!inRange(width) || !inRange(height)) {
    throw new HearthError(
      'MEDIA_FRAME_SIZE',
      `raw frame: expected sides of 1..16384 pixels, received ${width}x${height}`,
    );
  }
  if ((pixelFormat === 'nv12' && (width % 2 || height % 2)) || (pixelFormat === 'yuyv' && width % 2)) {
    throw new HearthError(
      'MEDIA_FRAME_SIZE',
      `raw ${pixelFormat} frame: expected even sides, received ${width}x${height}`,
    );
  }
  const expected = bytesPerPixel[pixelFormat] * width * height;
  if (bytes.length !== expected) {
    throw new HearthError(
      'MEDIA_FRAME_SIZE',
      `raw ${pixelFormat} frame of ${width}x${height}: expected ${expected} bytes, received ${bytes.length}`,
    );
  }
  const data = new Uint8Array(3 * width * height);
  convert[pixelFormat](bytes, data, width, height);
  return { width, height, data };
}
