/** Any sample rate to the model's 16 kHz with libsamplerate (band-limited sinc, WASM), chunk by chunk or whole clips. */
import { ConverterType, create } from '@alexanderolsen/libsamplerate-js';
import { HearthError } from '../errors';
import type { AudioClip } from '../inference/types';
import { concat } from './concat';
import { maxSampleRate, minSampleRate } from './pcm';
import { modelSampleRate } from './sample-rate';
import type { MonoAudio } from './wav';

/** The filter overshoots where a signal is at its limits. */
const clamp = (sample: number): number => Math.max(-1, Math.min(1, sample));

type Converter = Awaited<ReturnType<typeof create>>;

/** One continuous signal. Each instance owns a WASM module; `close` it. */
export class StreamResampler {
  #fed = 0;
  #returned = 0;

  private constructor(
    private readonly converter: Converter | undefined,
    readonly sampleRate: number,
  ) {}

  /** Throws `MEDIA_AUDIO_FORMAT` outside 4000..192000 Hz. At 16 kHz samples pass through untouched. */
  static async create(sampleRate: number): Promise<StreamResampler> {
    if (!Number.isInteger(sampleRate) || sampleRate < minSampleRate || sampleRate > maxSampleRate) {
      throw new HearthError(
        'MEDIA_AUDIO_FORMAT',
        `audio: expected ${minSampleRate}..${maxSampleRate} Hz, received ${sampleRate}`,
      );
    }
    if (sampleRate === modelSampleRate) return new StreamResampler(undefined, sampleRate);
    const converter = await create(1, sampleRate, modelSampleRate, { converterType: ConverterType.SRC_SINC_FASTEST });
    return new StreamResampler(converter, sampleRate);
  }

  /** The next piece of the signal at 16 kHz; what the filter still holds comes with the next call. */
  push(samples: Float32Array): Float32Array {
    if (this.converter === undefined) return samples;
    this.#fed += samples.length;
    const out = this.#convert(this.converter, samples);
    this.#returned += out.length;
    return out;
  }

  /**
   * The rest of the signal, so that the output is as long as the input. The filter is left full of silence: what is
   * pushed next is a new signal.
   */
  finish(): Float32Array {
    if (this.converter === undefined) return new Float32Array(0);
    const owed = Math.round((this.#fed * modelSampleRate) / this.sampleRate) - this.#returned;
    this.#fed = 0;
    this.#returned = 0;
    if (owed <= 0) return new Float32Array(0);
    const silence = new Float32Array(Math.ceil(((owed + 64) * this.sampleRate) / modelSampleRate));
    return this.#convert(this.converter, silence).slice(0, owed);
  }

  close(): void {
    this.converter?.destroy();
  }

  #convert(converter: Converter, samples: Float32Array): Float32Array {
    // The WASM side has buffers of a fixed size: a tenth of a second at a time stays well inside them.
    const step = Math.ceil(this.sampleRate / 10);
    const pieces: Float32Array[] = [];
    for (let at = 0; at < samples.length; at += step) {
      pieces.push(converter.full(samples.slice(at, at + step)).map(clamp));
    }
    return concat(pieces);
  }
}

/** A whole clip, `round(length * 16000 / sampleRate)` samples long. */
export async function toModelRate(audio: MonoAudio): Promise<AudioClip> {
  const resampler = await StreamResampler.create(audio.sampleRate);
  try {
    return { samples: concat([resampler.push(audio.samples), resampler.finish()]) };
  } finally {
    resampler.close();
  }
}
