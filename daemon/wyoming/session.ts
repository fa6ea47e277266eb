/** One connection: describes what there is, gathers what is said, and answers with its words. */
import { HearthError } from '../errors';
import type { ModelInfo } from '../inference/types';
import { messageOf } from '../log';
import { decodePcm, type PcmEncoding, type PcmFormat } from '../media/pcm';
import { toModelRate } from '../media/resample';
import type { RequestJobs } from '../requests/jobs';
import { maxRecordingSeconds, transcribe } from '../requests/transcribe';
import { version } from '../version';
import { encodeEvent, type WyomingEvent } from './events';

export interface WyomingContext {
  readonly jobs: RequestJobs;
  /** Undefined while no model is loaded. */
  readonly model: () => ModelInfo | undefined;
  readonly maxAudioSeconds: number;
}

/** Ten minutes at 16 kHz and 16 bit. */
const maxRecordingBytes = 20 << 20;

const encodings: Readonly<Record<number, PcmEncoding>> = { 1: 'u8', 2: 's16le', 3: 's24le', 4: 's32le' };

const invalid = (what: string): HearthError => new HearthError('WYOMING_INVALID', `wyoming: ${what}`);

function formatOf({ rate, width, channels }: Readonly<Record<string, unknown>>): PcmFormat {
  const encoding = typeof width === 'number' ? encodings[width] : undefined;
  if (encoding === undefined || typeof rate !== 'number' || typeof channels !== 'number')
    throw invalid('audio: expected rate, width of 1 to 4 bytes, and channels');
  return { encoding, sampleRate: rate, channels };
}

const sameFormat = (a: PcmFormat, b: PcmFormat): boolean =>
  a.encoding === b.encoding && a.sampleRate === b.sampleRate && a.channels === b.channels;

interface Recording {
  readonly chunks: Buffer[];
  bytes: number;
  format: PcmFormat | undefined;
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
        this.#recording = { chunks: [], bytes: 0, format: formatOf(data) };
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
    this.#abort.abort();
  }

  #add(format: PcmFormat, payload: Buffer): void {
    if (this.#busy) throw invalid('audio-chunk: expected after the transcript');
    // A client that begins with the sound itself is understood, too.
    this.#recording ??= { chunks: [], bytes: 0, format: undefined };
    const recording = this.#recording;
    recording.format ??= format;
    if (!sameFormat(recording.format, format)) throw invalid('audio-chunk: expected one format in a recording');
    recording.bytes += payload.length;
    if (recording.bytes > maxRecordingBytes) throw invalid(`audio: expected at most ${maxRecordingBytes} bytes`);
    recording.chunks.push(payload);
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

  async #transcribe({ chunks, bytes, format }: Recording): Promise<string> {
    const { jobs, model, maxAudioSeconds } = this.#context;
    const info = model();
    if (info === undefined) throw new HearthError('ENGINE_NOT_READY', 'the model is not loaded yet');
    if (bytes === 0 || format === undefined) return '';
    const samples = decodePcm(Buffer.concat(chunks), format, maxRecordingSeconds * 1000);
    const recording = await toModelRate({ sampleRate: format.sampleRate, samples });
    const texts: string[] = [];
    for await (const { text } of transcribe(recording, info, maxAudioSeconds, jobs, { signal: this.#abort.signal }))
      texts.push(text);
    return texts.filter((text) => text !== '').join(' ');
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
