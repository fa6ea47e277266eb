/**
 * One microphone: chunks of any rate -> one continuous 16 kHz signal -> speech segments -> consumers.
 * Holds at most one segment, the pre-roll, and chunks that are not decoded yet, bounded in number and bytes.
 */
import { asyncScheduler, type SchedulerLike, Subject, type Subscription } from 'rxjs';
import { HearthError } from '../errors';
import type { SkipReason } from '../events';
import type { Listening } from '../inference/engine';
import { decodePcm, type PcmFormat } from '../media/pcm';
import { StreamResampler } from '../media/resample';
import { modelSampleRate } from '../media/sample-rate';
import { sniff } from '../media/sniff';
import { decodeWav, type MonoAudio } from '../media/wav';
import { ChunkOrder } from './chunk-order';
import type { Dispatcher } from './dispatcher';
import { type Captured, itemFields, sha256Of } from './item';
import type { MediaStore } from './media-store';
import { oneAtATime } from './operators';
import { type Segment, Segmenter, type SegmenterOptions } from './segmenter';
import { type Skips, skipReasonOf } from './skips';
import type { VadAggressiveness, VoiceDetector, VoiceDetectorFactory } from './voice-detector';

export interface MicrophoneOptions extends SegmenterOptions {
  readonly vadAggressiveness: VadAggressiveness;
  /** Without a chunk for this long, the segment in hand ends. */
  readonly idleFlushMs: number;
  /** How payloads that are no WAV are read; without it they are refused. */
  readonly pcm?: PcmFormat;
}

export interface CapturedChunk extends Captured {
  readonly payload: Uint8Array;
  /** Counts up by one a chunk; tells gaps and late chunks. */
  readonly sequence?: number;
  /** How this chunk is read when it is no WAV; wins over the stream's own. */
  readonly pcm?: PcmFormat;
}

export interface MicrophoneDependencies {
  readonly dispatcher: Pick<Dispatcher, 'wants' | 'offer'>;
  readonly store: MediaStore;
  readonly skips: Skips;
  readonly createDetector: VoiceDetectorFactory;
  /** Longest chunk. */
  readonly maxChunkMs: number;
  readonly scheduler?: SchedulerLike;
  /** Where a segment goes while it is being spoken; undefined when nobody cares. */
  readonly listen?: () => Listening | undefined;
  /** Someone begins to speak, at a Unix time in seconds. */
  readonly onSpeech?: (ts: number) => void;
}

/** At the usual 20 to 500 ms a chunk, 1 to 30 s: far more than a resampler takes to start. */
const maxWaitingChunks = 64;
const maxWaitingBytes = 4 * 2 ** 20;

type Input =
  | { readonly type: 'chunk'; readonly chunk: CapturedChunk }
  | { readonly type: 'end'; readonly at: Captured };

export class MicrophoneStream {
  readonly #input$ = new Subject<Input>();
  readonly #subscription: Subscription;
  readonly #detector: VoiceDetector;
  readonly #segmenter: Segmenter;
  readonly #order = new ChunkOrder();
  readonly #scheduler: SchedulerLike;
  #resampler: StreamResampler | undefined;
  #idleTimer: Subscription | undefined;
  #latest: Captured | undefined;
  #listening: Listening | undefined;
  #waitingBytes = 0;

  constructor(
    readonly name: string,
    private readonly options: MicrophoneOptions,
    private readonly dependencies: MicrophoneDependencies,
  ) {
    this.#scheduler = dependencies.scheduler ?? asyncScheduler;
    this.#detector = dependencies.createDetector(options.vadAggressiveness);
    this.#segmenter = new Segmenter(options, (frame) => this.#detector.isSpeech(frame), {
      began: () => dependencies.onSpeech?.(this.#latest?.receivedTs ?? this.#scheduler.now() / 1000),
      heard: (samples) => {
        this.#listening ??= dependencies.listen?.();
        this.#listening?.heard(samples);
      },
      paused: () => this.#listening?.paused(),
      ended: (rest) => this.#endListening(rest),
    });
    this.#subscription = this.#input$
      .pipe(
        oneAtATime((input) => this.#process(input), {
          capacity: maxWaitingChunks,
          drop: 'newest',
          onDropped: (input, why) => this.#drop(input, why === 'full' ? 'queue-full' : 'shutdown'),
        }),
      )
      .subscribe();
  }

  /** Audio chunks that never came, by their sequence numbers. */
  get missingChunks(): number {
    return this.#order.missing;
  }

  push(chunk: CapturedChunk): void {
    // One chunk may be larger than the budget: its own size is checked where it comes in.
    if (this.#waitingBytes > 0 && this.#waitingBytes + chunk.payload.length > maxWaitingBytes) {
      this.#skip(chunk, 'queue-full');
      return;
    }
    this.#waitingBytes += chunk.payload.length;
    this.#input$.next({ type: 'chunk', chunk });
  }

  /** The speaker let go of the button: what was said so far is a segment. */
  end(at: Captured): void {
    this.#input$.next({ type: 'end', at });
  }

  /** What is in hand, spoken only in part, is skipped as `shutdown`. */
  stop(): void {
    this.#subscription.unsubscribe();
    this.#idleTimer?.unsubscribe();
    this.#endListening(undefined);
    const segment = this.#segmenter.flush();
    if (segment !== undefined && this.#latest !== undefined) this.#skip(this.#latest, 'shutdown');
    this.#resampler?.close();
    this.#resampler = undefined;
    this.#detector.close();
  }

  #endListening(rest: Float32Array | undefined): void {
    const listening = this.#listening;
    this.#listening = undefined;
    if (rest === undefined) {
      listening?.cancel();
      return;
    }
    if (rest.length > 0) listening?.heard(rest);
    listening?.end();
  }

  async #process(input: Input): Promise<void> {
    const at = input.type === 'chunk' ? input.chunk : input.at;
    try {
      if (input.type === 'chunk') await this.#take(input.chunk);
      else if (!this.#subscription.closed) this.#flush(input.at);
    } catch (error) {
      const known =
        error instanceof HearthError
          ? error
          : new HearthError('INTERNAL', 'audio: processing failed', { cause: error });
      this.#skip(at, skipReasonOf(known) ?? 'bad-input', known);
    } finally {
      if (input.type === 'chunk') this.#waitingBytes -= input.chunk.payload.length;
    }
  }

  #drop(input: Input, reason: SkipReason): void {
    if (input.type === 'end') return; // Carries no sound; the idle timer ends the segment.
    this.#waitingBytes -= input.chunk.payload.length;
    this.#skip(input.chunk, reason);
  }

  async #take(chunk: CapturedChunk): Promise<void> {
    if (!this.dependencies.dispatcher.wants('segment', this.name)) {
      this.#skip(chunk, 'no-consumer');
      return;
    }
    const audio = this.#decode(chunk);
    const place = this.#order.place(chunk.sequence, audio.samples.length / audio.sampleRate);
    if (place.type === 'late') {
      const message = `audio chunk ${chunk.sequence}: expected one after ${place.after}, which has arrived already`;
      throw new HearthError('MEDIA_OUT_OF_ORDER', message);
    }
    if (place.type === 'restart') this.#flush(this.#latest ?? chunk);
    if (this.#resampler?.sampleRate !== audio.sampleRate) await this.#changeRate(audio.sampleRate, chunk);
    if (this.#subscription.closed) {
      this.#skip(chunk, 'shutdown');
      return;
    }
    this.#latest = { topic: chunk.topic, receivedTs: chunk.receivedTs };
    if (place.type === 'gap') this.#feed(new Float32Array(Math.round(place.silenceSeconds * audio.sampleRate)), chunk);
    this.#feed(audio.samples, chunk);
    this.#idleTimer?.unsubscribe();
    this.#idleTimer = this.#scheduler.schedule(
      () => this.#input$.next({ type: 'end', at: this.#latest ?? chunk }),
      this.options.idleFlushMs,
    );
  }

  #decode(chunk: CapturedChunk): MonoAudio {
    const { maxChunkMs } = this.dependencies;
    const pcm = chunk.pcm ?? this.options.pcm;
    if (pcm === undefined || sniff(chunk.payload) === 'wav') return decodeWav(chunk.payload, maxChunkMs);
    return { sampleRate: pcm.sampleRate, samples: decodePcm(chunk.payload, pcm, maxChunkMs) };
  }

  /** The signal goes on at another rate: the rest of the old one comes out first. */
  async #changeRate(sampleRate: number, at: Captured): Promise<void> {
    const next = await StreamResampler.create(sampleRate);
    if (this.#subscription.closed) {
      next.close();
      return;
    }
    const rest = this.#resampler?.finish();
    this.#resampler?.close();
    this.#resampler = next;
    if (rest !== undefined) this.#deliver(this.#segmenter.push(rest), at);
  }

  #feed(samples: Float32Array, at: Captured): void {
    if (this.#resampler !== undefined) this.#deliver(this.#segmenter.push(this.#resampler.push(samples)), at);
  }

  #flush(at: Captured): void {
    this.#idleTimer?.unsubscribe();
    const rest = this.#resampler?.finish();
    if (rest !== undefined) this.#deliver(this.#segmenter.push(rest), at);
    const segment = this.#segmenter.flush();
    if (segment !== undefined) this.#deliver([segment], at);
    this.#detector.reset();
  }

  #deliver(segments: readonly Segment[], at: Captured): void {
    const { dispatcher, store } = this.dependencies;
    for (const { samples, tooShort } of segments) {
      if (tooShort) {
        this.#skip(at, 'too-short');
        continue;
      }
      const sha256 = sha256Of(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength));
      let ref: string;
      try {
        ref = store.add({ type: 'audio', audio: { samples } });
      } catch (error) {
        if (!(error instanceof HearthError)) throw error;
        this.#skip(at, skipReasonOf(error) ?? 'queue-full', error);
        continue;
      }
      const durationMs = Math.round((samples.length * 1000) / modelSampleRate);
      dispatcher.offer({ kind: 'segment', ...itemFields(this.name, at.topic, at.receivedTs, sha256, ref), durationMs });
    }
  }

  #skip({ topic, receivedTs }: Captured, reason: SkipReason, error?: HearthError): void {
    this.dependencies.skips.skip({
      stream: this.name,
      reason,
      capturedTs: receivedTs,
      topic,
      ...(error !== undefined && { error }),
    });
  }
}
