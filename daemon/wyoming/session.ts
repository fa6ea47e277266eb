/** One connection: describes what there is, gathers what is said, and answers with its words. */
import { HearthError } from '../errors';
import type { Listening } from '../inference/engine';
import type { ModelInfo } from '../inference/types';
import { messageOf } from '../log';
import { concat } from '../media/concat';
import { bytesPerSample, decodePcm, type PcmEncoding, type PcmFormat } from '../media/pcm';
import { toModelRate } from '../media/resample';
import { modelSampleRate } from '../media/sample-rate';
import type { RequestJobs } from '../requests/jobs';
import { transcription } from '../requests/transcribe';
import { version } from '../version';
import { encodeEvent, type WyomingEvent } from './events';

export interface WyomingContext {
  readonly jobs: RequestJobs;
  /** Undefined while no model is loaded. */
  readonly model: () => ModelInfo | undefined;
  readonly maxAudioSeconds: number;
}

/** Hz. More is no better understood, only more to hold. */
const maxRate = 48_000;

const encodings: Readonly<Record<number, PcmEncoding>> = { 1: 'u8', 2: 's16le', 3: 's24le', 4: 's32le' };

const invalid = (what: string): HearthError => new HearthError('WYOMING_INVALID', `wyoming: ${what}`);

function formatOf({ rate, width, channels }: Readonly<Record<string, unknown>>): PcmFormat {
  const encoding = typeof width === 'number' ? encodings[width] : undefined;
  if (encoding === undefined || typeof rate !== 'number' || rate > maxRate || typeof channels !== 'number')
    throw invalid(`audio: expected a rate of at most ${maxRate} Hz, a width of 1 to 4 bytes, and channels`);
  return { encoding, sampleRate: rate, channels };
}

const sameFormat = (a: PcmFormat, b: PcmFormat): boolean =>
  a.encoding === b.encoding && a.sampleRate === b.sampleRate && a.channels === b.channels;

/** What is said between `audio-start` and `audio-stop`. */
class Recording {
  readonly #chunks: Float32Array[] = [];
  readonly #listening: Listening | undefined;
  /** Part of a frame, whose rest comes with the next chunk. */
  #rest: Buffer = Buffer.alloc(0);
  #length = 0;

  /** At the model's own rate, the engine hears it while it is spoken. */
  constructor(
    readonly format: PcmFormat,
    private readonly maxSeconds: number,
    listen: () => Listening,
  ) {
    this.#listening = format.sampleRate === modelSampleRate ? listen() : undefined;
  }

  /** Throws `MEDIA_AUDIO_FORMAT` or `MEDIA_AUDIO_TOO_LONG`. */
  add(payload: Buffer): void {
    const { encoding, channels, sampleRate } = this.format;
    const bytes = this.#rest.length === 0 ? payload : Buffer.concat([this.#rest, payload]);
    const frameBytes = bytesPerSample[encoding] * channels;
    const whole = bytes.length - (frameBytes > 0 ? bytes.length % frameBytes : 0);
    const samples = decodePcm(bytes.subarray(0, whole), this.format, Number.POSITIVE_INFINITY);
    this.#rest = bytes.subarray(whole);
    this.#length += samples.length;
    if (this.#length > this.maxSeconds * sampleRate)
      throw new HearthError('MEDIA_AUDIO_TOO_LONG', `audio: expected at most ${this.maxSeconds} s`);
    if (samples.length === 0) return;
    this.#chunks.push(samples);
    this.#listening?.heard(samples);
  }

  end(): Float32Array {
    this.#listening?.end();
    return concat(this.#chunks);
  }

  cancel(): void {
    this.#listening?.cancel();
  }
}

export class Session {
  readonly #context: WyomingContext;
  readonly #write: (bytes: Buffer) => void;
  readonly #abort = new AbortController();
  #language: string | undefined;
  #recording: Recording | undefined;
  #busy = false;

  constructor(context: WyomingContext, write: (bytes: Buffer) => void) {
    this.#context = context;
    this.#write = write;
  }

  /** Whether an answer is being made. */
  get busy(): boolean {
    return this.#busy;
  }

  /** Rejects with what ends the connection. Events that are not about speech to text are left alone. */
  async take({ type, data, payload }: WyomingEvent): Promise<void> {
    switch (type) {
      case 'describe':
        this.#write(encodeEvent('info', this.#describe()));
        break;
      case 'ping':
        this.#write(encodeEvent('pong', typeof data['text'] === 'string' ? { text: data['text'] } : {}));
        break;
      case 'transcribe':
        this.#language = typeof data['language'] === 'string' ? data['language'].slice(0, 32) : undefined;
        break;
      case 'audio-start':
        if (this.#busy) throw invalid('audio-start: expected after the transcript');
        this.#recording?.cancel();
        this.#recording = this.#record(formatOf(data));
        break;
      case 'audio-chunk':
        this.#add(formatOf(data), payload);
        break;
      case 'audio-stop':
        await this.#answer();
        break;
    }
  }

  /** The client is gone: its job is cancelled. */
  close(): void {
    this.#recording?.cancel();
    this.#abort.abort();
  }

  #record(format: PcmFormat): Recording {
    const { jobs, maxAudioSeconds } = this.#context;
    return new Recording(format, maxAudioSeconds, () => jobs.listen());
  }

  #add(format: PcmFormat, payload: Buffer): void {
    if (this.#busy) throw invalid('audio-chunk: expected after the transcript');
    // A client that begins with the sound itself is understood, too.
    this.#recording ??= this.#record(format);
    if (!sameFormat(this.#recording.format, format)) throw invalid('audio-chunk: expected one format in a recording');
    this.#recording.add(payload);
  }

  async #answer(): Promise<void> {
    const recording = this.#recording;
    if (recording === undefined) throw invalid('audio-stop: expected after audio-start');
    this.#recording = undefined;
    this.#busy = true;
    try {
      const text = await this.#transcribe(recording);
      this.#write(
        encodeEvent('transcript', { text, ...(this.#language !== undefined && { language: this.#language }) }),
      );
    } finally {
      this.#busy = false;
    }
  }

  async #transcribe(recording: Recording): Promise<string> {
    const { jobs, model } = this.#context;
    const info = model();
    if (info === undefined) throw new HearthError('ENGINE_NOT_READY', 'the model is not loaded yet');
    const samples = recording.end();
    if (samples.length === 0) return '';
    const clip = await toModelRate({ sampleRate: recording.format.sampleRate, samples });
    const { text } = await jobs.run(transcription(clip, info), { signal: this.#abort.signal });
    return text.trim();
  }

  #describe(): Readonly<Record<string, unknown>> {
    const info = this.#context.model();
    const attribution = { name: 'hearth', url: '' };
    const hears = info?.modalities.includes('audio') === true;
    const program = (model: ModelInfo) => ({
      name: 'hearth',
      description: 'Speech to text with a local Gemma 3n',
      attribution,
      installed: true,
      version,
      supports_transcript_streaming: false,
      models: [
        {
          name: model.name,
          description: model.name,
          attribution,
          installed: true,
          version,
          languages: Object.keys(model.prompts.languages),
        },
      ],
    });
    return {
      asr: info !== undefined && hears ? [program(info)] : [],
      tts: [],
      handle: [],
      intent: [],
      wake: [],
    };
  }
}

/** What a client is told before the connection ends. */
export function errorEvent(error: unknown): Buffer {
  const code = error instanceof HearthError ? error.code : 'INTERNAL';
  return encodeEvent('error', { text: `${code}: ${messageOf(error)}`, code });
}
