/**
 * One camera: rate limit -> newest frame only, while a consumer is busy -> decode -> has the scene changed? -> consumers.
 * Nothing is decoded that nobody is free to look at. A camera whose frames are gathered into clips decodes them as they
 * come; the clips go to the consumers.
 */
import { asyncScheduler, type SchedulerLike, Subject, type Subscription } from 'rxjs';
import { HearthError } from '../errors';
import type { SkipReason } from '../events';
import type { Watching } from '../inference/engine';
import type { DecodedImage } from '../media/image';
import type { RawFrameFormat } from '../media/raw-frame';
import { thumbnailOf } from '../media/thumbnail';
import { type Clip, ClipCollector, type ClipOptions, type ClipSound, videoOf } from './clip-collector';
import type { Dispatcher } from './dispatcher';
import { type Captured, itemFields, sha256Of } from './item';
import type { MediaStore } from './media-store';
import { oneAtATime, rateLimit } from './operators';
import { type MotionOptions, SceneGate } from './scene-gate';
import { type Skips, skipReasonOf } from './skips';

export interface CameraOptions {
  /** Frames that come sooner after the last one taken are skipped; 0 takes all. */
  readonly minIntervalMs: number;
  /** Mean absolute difference of luma (0..255) to the last used frame under which a frame is a duplicate; 0 takes all. */
  readonly duplicateThreshold: number;
  /** What counts as a change beside the mean; without it, nothing. */
  readonly motion?: MotionOptions;
  /** Gathers the frames into clips. */
  readonly clip?: ClipOptions;
  /** Payloads are raw frames of this format instead of encoded pictures. */
  readonly raw?: RawFrameFormat;
}

export interface CapturedFrame extends Captured {
  readonly payload: Uint8Array;
}

export interface CameraDependencies {
  readonly dispatcher: Pick<Dispatcher, 'wants' | 'offer' | 'whenIdle'>;
  readonly store: MediaStore;
  readonly skips: Skips;
  readonly decode: (payload: Uint8Array, raw: RawFrameFormat | undefined) => Promise<DecodedImage>;
  /** For a clip that begins: the engine prepares it while it is being taken. */
  readonly watch?: (maxTokens: number) => Watching;
  readonly scheduler?: SchedulerLike;
}

/**
 * A sender's own time is believed up to this age. Without a clock of its own (1970) every job would be past its deadline,
 * and with one that runs ahead a result would come before its frame: then the time of arrival counts.
 */
const maxAgeSeconds = 300;

/** For a clip that was begun when the camera still gathered clips: it ends with what it has. */
const noClip: ClipOptions = { seconds: 0, maxTokens: 1 };

export class CameraStream {
  readonly #input$ = new Subject<CapturedFrame>();
  readonly #subscription: Subscription;
  readonly #gate = new SceneGate();
  #decoding: Promise<void> = Promise.resolve();
  readonly #clips: ClipCollector;
  /** While there is a clip in hand. */
  #watching: Watching | undefined;

  constructor(
    readonly name: string,
    private options: CameraOptions,
    private readonly dependencies: CameraDependencies,
  ) {
    const scheduler = dependencies.scheduler ?? asyncScheduler;
    this.#clips = new ClipCollector(
      () => this.options.clip ?? noClip,
      (clip) => this.#offerClip(clip),
      scheduler,
    );
    this.#subscription = this.#input$
      .pipe(
        rateLimit(
          () => this.options.minIntervalMs,
          (frame) => this.#skip(frame, 'rate-limited'),
          scheduler,
        ),
        oneAtATime((frame) => this.#process(frame), {
          capacity: 1,
          drop: 'oldest',
          onDropped: (frame, why) => this.#skip(frame, why === 'full' ? 'superseded' : 'shutdown'),
        }),
      )
      .subscribe();
  }

  push(frame: CapturedFrame): void {
    this.#input$.next(frame);
  }

  /** Speech that a microphone beside the camera has heard. */
  hear(sound: ClipSound): void {
    this.#watching?.heard({ audio: sound.audio, timeMs: 1000 * sound.startedTs });
    this.#clips.hear(sound);
  }

  /** Holds from the next frame on. */
  configure(options: CameraOptions): void {
    this.options = options;
  }

  /** The frame that waits is skipped as `shutdown`; resolves when one being decoded has reached the dispatcher. */
  async stop(): Promise<void> {
    this.#subscription.unsubscribe();
    await this.#decoding;
    this.#clips.end();
  }

  async #process(frame: CapturedFrame): Promise<void> {
    const { dispatcher } = this.dependencies;
    const kind = this.options.clip === undefined ? 'frame' : 'clip';
    if (!dispatcher.wants(kind, this.name)) {
      this.#skip(frame, 'no-consumer');
      return;
    }
    this.#decoding = this.#decode(frame);
    await this.#decoding;
    if (kind === 'frame') await dispatcher.whenIdle('frame', this.name);
  }

  async #decode(frame: CapturedFrame): Promise<void> {
    try {
      this.#offer(frame, await this.dependencies.decode(frame.payload, this.options.raw));
    } catch (error) {
      const known =
        error instanceof HearthError ? error : new HearthError('INTERNAL', 'frame: decoding failed', { cause: error });
      this.#skip(frame, skipReasonOf(known) ?? 'bad-input', known);
    }
  }

  #offer(frame: CapturedFrame, { image, capturedTs }: DecodedImage): void {
    const { dispatcher, store } = this.dependencies;
    const thumbnail = thumbnailOf(image);
    const unchanged = this.#gate.judge(thumbnail, this.options.duplicateThreshold, this.options.motion);
    if (unchanged !== undefined) {
      this.#skip(frame, unchanged);
      return;
    }
    const claimedTs = capturedTs ?? frame.receivedTs;
    const ageSeconds = frame.receivedTs - claimedTs;
    const ts = ageSeconds >= 0 && ageSeconds <= maxAgeSeconds ? claimedTs : frame.receivedTs;
    const sha256 = sha256Of(frame.payload);
    if (this.options.clip !== undefined) {
      this.#gate.use(thumbnail);
      this.#watching ??= this.dependencies.watch?.(this.options.clip.maxTokens);
      this.#watching?.seen({ image, timeMs: 1000 * ts });
      this.#clips.add({ image, capturedTs: ts, topic: frame.topic, sha256 });
      return;
    }
    const ref = store.add({ type: 'image', image });
    dispatcher.offer(
      {
        kind: 'frame',
        ...itemFields(this.name, frame.topic, ts, sha256, ref),
        width: image.width,
        height: image.height,
      },
      { onUsed: () => this.#gate.use(thumbnail) },
    );
  }

  #offerClip(clip: Clip): void {
    this.#watching?.end();
    this.#watching = undefined;
    const { frames, sounds } = clip;
    const [first, last] = [frames[0], frames.at(-1)];
    if (first === undefined || last === undefined) return;
    const { topic, capturedTs } = last;
    let ref: string;
    try {
      ref = this.dependencies.store.add(videoOf(clip, (this.options.clip ?? noClip).maxTokens));
    } catch (error) {
      const reason = skipReasonOf(error) ?? 'bad-input';
      const known = error instanceof HearthError ? { error } : {};
      this.dependencies.skips.skip({ stream: this.name, reason, capturedTs, topic, count: frames.length, ...known });
      return;
    }
    this.dependencies.dispatcher.offer({
      kind: 'clip',
      ...itemFields(
        this.name,
        topic,
        capturedTs,
        sha256Of(Buffer.from(frames.map(({ sha256 }) => sha256).join())),
        ref,
      ),
      frames: frames.length,
      sounds: sounds.length,
      durationMs: Math.round((last.capturedTs - first.capturedTs) * 1000),
    });
  }

  #skip({ topic, receivedTs }: CapturedFrame, reason: SkipReason, error?: HearthError): void {
    this.dependencies.skips.skip({
      stream: this.name,
      reason,
      capturedTs: receivedTs,
      topic,
      ...(error !== undefined && { error }),
    });
  }
}
