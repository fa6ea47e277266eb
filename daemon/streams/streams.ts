/** Media in: from MQTT topics to the cameras and microphones they stand for, and from those to the dispatcher. */
import type { Logger } from 'pino';
import type { SchedulerLike } from 'rxjs';
import type { Bus, PacketInfo, Unsubscribe } from '../bus/bus';
import { isName, type InputKind, type Topics } from '../bus/topics';
import { HearthError } from '../errors';
import type { SkipReason } from '../events';
import { decodeImage, defaultImageLimits, type DecodedImage, type ImageLimits } from '../media/image';
import type { RawFrameFormat } from '../media/raw-frame';
import { CameraStream, type CameraOptions } from './camera-stream';
import { chunkProperties } from './chunk-properties';
import type { Dispatcher, ItemKind } from './dispatcher';
import type { MediaStore } from './media-store';
import { MicrophoneStream } from './microphone-stream';
import { policyOf, streamOfTopic, type InputFilter, type StreamPolicy, type StreamsOptions } from './options';
import { otherStream, type SkipCounts, type Skips } from './skips';
import { loadVoiceDetector, type VoiceDetectorFactory } from './voice-detector';

export interface StreamsDependencies {
  readonly options: StreamsOptions;
  readonly bus: Pick<Bus, 'subscribe'>;
  readonly topics: Topics;
  readonly dispatcher: Dispatcher;
  readonly store: MediaStore;
  readonly skips: Skips;
  readonly log: Pick<Logger, 'info' | 'warn'>;
  /** Whether the loaded model takes this kind; all, when left out. */
  readonly supports?: (kind: ItemKind) => boolean;
  readonly imageLimits?: ImageLimits;
  readonly scheduler?: SchedulerLike;
}

export interface StreamStats {
  /** Messages, and their payload bytes. */
  readonly received: number;
  readonly receivedBytes: number;
  /** Frames and segments at least one consumer took up. */
  readonly used: number;
  readonly skipped: SkipCounts[string];
  /** Audio chunks that never came, by their sequence numbers. */
  readonly missingChunks: number;
}

interface Entry {
  readonly name: string;
  policy: StreamPolicy;
  received: number;
  receivedBytes: number;
  camera?: CameraStream;
  microphone?: MicrophoneStream;
}

interface Message {
  readonly kind: InputKind;
  readonly topic: string;
  readonly payload: Buffer;
  readonly info: PacketInfo;
}

const itemKind = (kind: InputKind): ItemKind => (kind === 'frame' ? 'frame' : 'segment');

export class Streams {
  readonly #dependencies: StreamsDependencies;
  readonly #entries = new Map<string, Entry>();
  readonly #unsubscribes: Unsubscribe[] = [];
  #createDetector: VoiceDetectorFactory | undefined;
  /** Pictures are decoded one at a time: what one takes is the memory all take. */
  #decoding: Promise<unknown> = Promise.resolve();
  #unknownStreams = 0;
  #limitLogged = false;
  #stopped = false;

  constructor(dependencies: StreamsDependencies) {
    this.#dependencies = dependencies;
  }

  /** Resolves once every input is subscribed. Rejects as `Bus.subscribe` does. */
  async start(): Promise<void> {
    this.#createDetector = await loadVoiceDetector();
    const { options, topics } = this.#dependencies;
    for (const kind of ['frame', 'audio', 'audio/end'] as const) {
      await this.#subscribe(topics.in(kind), kind, options.acceptRetained, (topic) => topics.parseIn(topic)?.stream ?? '');
    }
    for (const input of options.inputs) {
      await this.#subscribe(input.filter, input.kind, input.acceptRetained ?? options.acceptRetained, (topic) => streamOfTopic(input, topic));
    }
  }

  /** Takes no more input; what waits is skipped as `shutdown`, consumers finish what they have in hand. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.allSettled(this.#unsubscribes.splice(0).map((unsubscribe) => unsubscribe()));
    this.#dependencies.dispatcher.stop();
    for (const { microphone } of this.#entries.values()) microphone?.stop();
    await Promise.all(Array.from(this.#entries.values(), ({ camera }) => camera?.stop()));
    this.#dependencies.skips.flush();
  }

  /** Priority and deadline for jobs of a stream's items; the defaults for a stream that is not known. */
  policy(stream: string): StreamPolicy {
    return this.#entries.get(stream)?.policy ?? policyOf(this.#dependencies.options, stream);
  }

  /** Changes a camera while it runs. Throws `STREAM_NAME_INVALID` or `STREAM_LIMIT`. */
  configureCamera(stream: string, changes: Partial<CameraOptions>): CameraOptions {
    const entry = this.#entry(stream);
    entry.policy = { ...entry.policy, camera: { ...entry.policy.camera, ...changes } };
    entry.camera?.configure(entry.policy.camera);
    return entry.policy.camera;
  }

  /** Everything since the start, by stream. */
  stats(): Readonly<Record<string, StreamStats>> {
    const { skips, dispatcher } = this.#dependencies;
    const skipped = skips.counts();
    const used = dispatcher.used();
    const names = new Set([...this.#entries.keys(), ...Object.keys(skipped)]);
    return Object.fromEntries(
      Array.from(names, (name) => {
        const entry = this.#entries.get(name);
        const stats: StreamStats = {
          received: entry?.received ?? 0,
          receivedBytes: entry?.receivedBytes ?? 0,
          used: used[name] ?? 0,
          skipped: skipped[name] ?? {},
          missingChunks: entry?.microphone?.missingChunks ?? 0,
        };
        return [name, stats];
      }),
    );
  }

  async #subscribe(filter: InputFilter['filter'], kind: InputKind, acceptRetained: boolean, streamOf: (topic: string) => string): Promise<void> {
    const unsubscribe = await this.#dependencies.bus.subscribe(
      filter,
      (topic, payload, info) => this.#receive(streamOf(topic), { kind, topic, payload, info }),
      {
        connection: 'ingest',
        qos: kind === 'audio/end' ? 1 : 0,
        acceptRetained,
        onRetained: (topic) => this.#skipRetained(streamOf(topic), topic),
      },
    );
    this.#unsubscribes.push(unsubscribe);
  }

  #receive(name: string, message: Message): void {
    let entry: Entry;
    try {
      entry = this.#entry(name);
    } catch (error) {
      this.#skip(otherStream, message, 'bad-input', error);
      return;
    }
    entry.received++;
    entry.receivedBytes += message.payload.length;
    if (this.#stopped) {
      this.#skip(name, message, 'shutdown');
      return;
    }
    try {
      this.#checkSize(message);
    } catch (error) {
      this.#skip(name, message, 'too-large', error);
      return;
    }
    if (this.#dependencies.supports?.(itemKind(message.kind)) === false) {
      this.#skip(name, message, 'unsupported');
      return;
    }
    this.#route(entry, message);
  }

  #route(entry: Entry, message: Message): void {
    const { kind, topic, payload, info } = message;
    const captured = { topic, receivedTs: info.receivedTs };
    if (kind === 'frame') {
      this.#camera(entry).push({ ...captured, payload });
    } else if (kind === 'audio/end') {
      entry.microphone?.end(captured);
    } else {
      try {
        this.#microphone(entry).push({ ...captured, payload, ...chunkProperties(info.properties.userProperties) });
      } catch (error) {
        this.#skip(entry.name, message, 'bad-input', error);
      }
    }
  }

  /** Throws `STREAM_NAME_INVALID` or, for one too many that is not configured, `STREAM_LIMIT`. */
  #entry(name: string): Entry {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    const { options, log } = this.#dependencies;
    if (!isName(name) || name === otherStream) {
      throw new HearthError('STREAM_NAME_INVALID', `stream name: expected 1 to 64 of a-z 0-9 _ -, received ${JSON.stringify(name.slice(0, 80))}`);
    }
    if (!Object.hasOwn(options.streams, name)) {
      if (this.#unknownStreams >= options.maxStreams) {
        const message = `stream ${name}: expected at most ${options.maxStreams} streams beside the configured ones`;
        // Once: whoever floods the inputs must not flood the log as well.
        if (!this.#limitLogged) log.warn({ stream: name, code: 'STREAM_LIMIT' }, message);
        this.#limitLogged = true;
        throw new HearthError('STREAM_LIMIT', message);
      }
      this.#unknownStreams++;
    }
    const entry: Entry = { name, policy: policyOf(options, name), received: 0, receivedBytes: 0 };
    this.#entries.set(name, entry);
    log.info({ stream: name }, 'first message of a stream');
    return entry;
  }

  #camera(entry: Entry): CameraStream {
    const { dispatcher, store, skips, scheduler } = this.#dependencies;
    entry.camera ??= new CameraStream(entry.name, entry.policy.camera, {
      dispatcher,
      store,
      skips,
      decode: (payload, raw) => this.#decode(payload, raw),
      ...(scheduler !== undefined && { scheduler }),
    });
    return entry.camera;
  }

  #microphone(entry: Entry): MicrophoneStream {
    const { dispatcher, store, skips, scheduler, options } = this.#dependencies;
    const createDetector = this.#createDetector;
    if (createDetector === undefined) throw new HearthError('INTERNAL', 'streams: audio came before start');
    entry.microphone ??= new MicrophoneStream(entry.name, entry.policy.microphone, {
      dispatcher,
      store,
      skips,
      createDetector,
      maxChunkMs: options.maxChunkMs,
      ...(scheduler !== undefined && { scheduler }),
    });
    return entry.microphone;
  }

  #decode(payload: Uint8Array, raw: RawFrameFormat | undefined): Promise<DecodedImage> {
    const limits = this.#dependencies.imageLimits ?? defaultImageLimits;
    const decoded = this.#decoding.then(() => decodeImage(payload, limits, raw));
    this.#decoding = decoded.catch(() => undefined);
    return decoded;
  }

  #checkSize({ kind, payload }: Message): void {
    const { maxFrameBytes, maxAudioBytes } = this.#dependencies.options;
    const limit = kind === 'frame' ? maxFrameBytes : maxAudioBytes;
    if (payload.length > limit) {
      throw new HearthError('MEDIA_TOO_LARGE', `${kind}: expected at most ${limit} bytes, received ${payload.length}`);
    }
  }

  #skipRetained(name: string, topic: string): void {
    const stream = this.#entries.has(name) || Object.hasOwn(this.#dependencies.options.streams, name) ? name : otherStream;
    this.#dependencies.skips.skip({ stream, reason: 'retained', topic });
  }

  #skip(stream: string, { topic, info }: Message, reason: SkipReason, error?: unknown): void {
    this.#dependencies.skips.skip({
      stream,
      reason,
      capturedTs: info.receivedTs,
      topic,
      ...(error instanceof HearthError && { error }),
    });
  }
}
