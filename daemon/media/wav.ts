/**
 * A bounded RIFF/WAVE reader. Ours, because none of the live packages survives the headers seen here: one refuses
 * WAVE_FORMAT_EXTENSIBLE, 32-bit PCM and the sizes a streaming writer leaves, the other ignores chunk padding and
 * allocates channels x frames from a header that may claim 65535 channels of one byte, and scales positive and negative
 * samples differently, while the model's feature extractor expects x / 2^(bits-1).
 */
import { HearthError } from '../errors';
import { bytesPerSample, decodePcm, type PcmEncoding, type PcmFormat } from './pcm';
import { firstBytes, sniff } from './sniff';

export interface MonoAudio {
  /** Hz. */
  readonly sampleRate: number;
  /** Mono, [-1, 1]; channels are averaged. */
  readonly samples: Float32Array;
}

const formatPcm = 1;
const formatFloat = 3;
const formatExtensible = 0xfffe;
/** The last 14 bytes of every KSDATAFORMAT_SUBTYPE_* GUID; the first two are the format tag. */
const subtypeTail = [0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113];

interface Chunk {
  readonly start: number;
  readonly end: number;
}

/** The first `fmt ` and `data` chunks. Chunks are padded to even sizes; a chunk that reaches past the end is cut there. */
function findChunks(view: DataView): { fmt: Chunk | undefined; data: Chunk | undefined } {
  let fmt: Chunk | undefined;
  let at = 12;
  while (at + 8 <= view.byteLength) {
    const id = view.getUint32(at, false);
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    const end = Math.min(start + size, view.byteLength);
    if (id === 0x666d7420 && fmt === undefined) fmt = { start, end };
    if (id === 0x64617461) {
      // A writer that does not know the length yet leaves 0 or 0xFFFFFFFF: everything that follows is data.
      return { fmt, data: { start, end: size === 0 || size === 0xffffffff ? view.byteLength : end } };
    }
    at = start + size + (size & 1);
  }
  return { fmt, data: undefined };
}

function readFormat(view: DataView, fmt: Chunk): PcmFormat {
  if (fmt.end - fmt.start < 16) {
    throw new HearthError(
      'MEDIA_BROKEN_WAV',
      `wav: expected a fmt chunk of at least 16 bytes, received ${fmt.end - fmt.start}`,
    );
  }
  let tag = view.getUint16(fmt.start, true);
  const channels = view.getUint16(fmt.start + 2, true);
  const sampleRate = view.getUint32(fmt.start + 4, true);
  const blockAlign = view.getUint16(fmt.start + 12, true);
  const bits = view.getUint16(fmt.start + 14, true);
  if (tag === formatExtensible) {
    if (fmt.end - fmt.start < 40) {
      throw new HearthError('MEDIA_BROKEN_WAV', 'wav: expected 40 bytes of extensible fmt chunk, received fewer');
    }
    if (subtypeTail.some((byte, i) => view.getUint8(fmt.start + 26 + i) !== byte)) {
      throw new HearthError('MEDIA_WAV_UNSUPPORTED', 'wav: expected a PCM or float sub-format, received another GUID');
    }
    tag = view.getUint16(fmt.start + 24, true);
  }
  const encoding = encodingOf(tag, bits);
  if (encoding === undefined) {
    throw new HearthError(
      'MEDIA_WAV_UNSUPPORTED',
      `wav: expected PCM of 8, 16, 24 or 32 bits or float of 32 bits, received format ${tag} with ${bits} bits`,
    );
  }
  if (blockAlign !== channels * bytesPerSample[encoding]) {
    throw new HearthError(
      'MEDIA_BROKEN_WAV',
      `wav: expected a block of ${channels * bytesPerSample[encoding]} bytes for ${channels} channels of ${encoding}, received ${blockAlign}`,
    );
  }
  return { encoding, channels, sampleRate };
}

function encodingOf(tag: number, bits: number): PcmEncoding | undefined {
  if (tag === formatFloat) return bits === 32 ? 'f32le' : undefined;
  if (tag !== formatPcm) return undefined;
  return ({ 8: 'u8', 16: 's16le', 24: 's24le', 32: 's32le' } as const)[bits as 8 | 16 | 24 | 32];
}

/**
 * Decodes one self-contained WAV. Throws `MEDIA_NOT_A_WAV`, `MEDIA_BROKEN_WAV`, `MEDIA_WAV_UNSUPPORTED`,
 * `MEDIA_AUDIO_FORMAT` (rate or channels out of range) or `MEDIA_AUDIO_TOO_LONG`. Allocates at most four times the input.
 */
export function decodeWav(bytes: Uint8Array, maxDurationMs: number): MonoAudio {
  if (sniff(bytes) !== 'wav')
    throw new HearthError('MEDIA_NOT_A_WAV', `audio: expected a RIFF/WAVE file, received ${firstBytes(bytes)}`);
  const { fmt, data } = findChunks(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  if (fmt === undefined)
    throw new HearthError('MEDIA_BROKEN_WAV', 'wav: expected a fmt chunk before the data, received none');
  if (data === undefined) throw new HearthError('MEDIA_BROKEN_WAV', 'wav: expected a data chunk, received none');
  const format = readFormat(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), fmt);
  const frameBytes = format.channels * bytesPerSample[format.encoding];
  // A trailing part of a frame is what a cut transmission leaves.
  const whole = frameBytes === 0 ? 0 : data.end - ((data.end - data.start) % frameBytes);
  return {
    sampleRate: format.sampleRate,
    samples: decodePcm(bytes.subarray(data.start, whole), format, maxDurationMs),
  };
}
