/**
 * What an audio message may say about itself in MQTT 5 user properties: `seq` (counts chunks), and for raw PCM
 * `encoding`, `sample_rate` (16000 when left out) and `channels` (1 when left out).
 */
import { HearthError } from '../errors';
import { type PcmEncoding, type PcmFormat, pcmEncodings } from '../media/pcm';
import { modelSampleRate } from '../media/sample-rate';

export interface ChunkProperties {
  readonly sequence?: number;
  readonly pcm?: PcmFormat;
}

const isEncoding = (text: string): text is PcmEncoding => (pcmEncodings as readonly string[]).includes(text);

function count(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) {
    throw new HearthError(
      'MEDIA_AUDIO_FORMAT',
      `user property ${name}: expected a whole number, received ${JSON.stringify(text.slice(0, 40))}`,
    );
  }
  return Number(text);
}

/** Throws `MEDIA_AUDIO_FORMAT`. Ranges are checked where the format is used. */
export function chunkProperties(user: Readonly<Record<string, string | readonly string[]>> = {}): ChunkProperties {
  const one = (name: string): string | undefined => {
    const value = Object.hasOwn(user, name) ? user[name] : undefined;
    // MQTT allows a property more than once: the last one counts.
    return typeof value === 'string' || value === undefined ? value : value.at(-1);
  };
  const seq = one('seq');
  const sequence = seq === undefined ? {} : { sequence: count('seq', seq) };
  const encoding = one('encoding');
  if (encoding === undefined) return sequence;
  if (!isEncoding(encoding)) {
    throw new HearthError(
      'MEDIA_AUDIO_FORMAT',
      `user property encoding: expected ${pcmEncodings.join(', ')}, received ${JSON.stringify(encoding.slice(0, 40))}`,
    );
  }
  const sampleRate = count('sample_rate', one('sample_rate') ?? String(modelSampleRate));
  return { ...sequence, pcm: { encoding, sampleRate, channels: count('channels', one('channels') ?? '1') } };
}
