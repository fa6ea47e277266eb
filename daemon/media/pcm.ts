/** Raw PCM to mono float. */
import { HearthError } from '../errors';

export const pcmEncodings = ['u8', 's16le', 's24le', 's32le', 'f32le'] as const;
export type PcmEncoding = (typeof pcmEncodings)[number];

export interface PcmFormat {
  readonly encoding: PcmEncoding;
  /** Hz, 4000..192000. */
  readonly sampleRate: number;
  /** 1..8, interleaved. */
  readonly channels: number;
}

export const bytesPerSample: Readonly<Record<PcmEncoding, number>> = { u8: 1, s16le: 2, s24le: 3, s32le: 4, f32le: 4 };

export const minSampleRate = 4000;
export const maxSampleRate = 192_000;
export const maxChannels = 8;

const readers: Readonly<Record<PcmEncoding, (view: DataView, at: number) => number>> = {
  u8: (view, at) => (view.getUint8(at) - 128) / 128,
  s16le: (view, at) => view.getInt16(at, true) / 0x8000,
  s24le: (view, at) => ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 0x800000,
  s32le: (view, at) => view.getInt32(at, true) / 0x80000000,
  // Written so that NaN becomes silence.
  f32le: (view, at) => {
    const value = view.getFloat32(at, true);
    return value > -1 ? Math.min(value, 1) : value <= -1 ? -1 : 0;
  },
};

function checkFormat({ sampleRate, channels }: PcmFormat): void {
  if (!Number.isInteger(sampleRate) || sampleRate < minSampleRate || sampleRate > maxSampleRate) {
    throw new HearthError(
      'MEDIA_AUDIO_FORMAT',
      `audio: expected ${minSampleRate}..${maxSampleRate} Hz, received ${sampleRate}`,
    );
  }
  if (!Number.isInteger(channels) || channels < 1 || channels > maxChannels) {
    throw new HearthError('MEDIA_AUDIO_FORMAT', `audio: expected 1..${maxChannels} channels, received ${channels}`);
  }
}

/**
 * Mono samples in [-1, 1], scaled by 1 / 2^(bits-1); channels are averaged. Throws `MEDIA_AUDIO_FORMAT` or
 * `MEDIA_AUDIO_TOO_LONG`.
 */
export function decodePcm(bytes: Uint8Array, format: PcmFormat, maxDurationMs: number): Float32Array {
  checkFormat(format);
  const { encoding, channels, sampleRate } = format;
  const width = bytesPerSample[encoding];
  const frameBytes = width * channels;
  if (bytes.length % frameBytes !== 0) {
    throw new HearthError(
      'MEDIA_AUDIO_FORMAT',
      `pcm: expected whole frames of ${frameBytes} bytes (${channels} x ${encoding}), received ${bytes.length} bytes`,
    );
  }
  const frames = bytes.length / frameBytes;
  if (frames * 1000 > maxDurationMs * sampleRate) {
    const durationMs = Math.round((frames * 1000) / sampleRate);
    throw new HearthError(
      'MEDIA_AUDIO_TOO_LONG',
      `audio: expected at most ${maxDurationMs} ms, received ${durationMs} ms`,
    );
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = readers[encoding];
  const samples = new Float32Array(frames);
  for (let frame = 0; frame < frames; frame++) {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += read(view, frame * frameBytes + channel * width);
    samples[frame] = sum / channels;
  }
  return samples;
}
