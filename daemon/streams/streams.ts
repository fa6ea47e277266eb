/** Media in: from MQTT topics to the cameras and microphones they stand for, and from those to the dispatcher. */
import type { SchedulerLike } from 'rxjs';
import type { Bus, PacketInfo, Unsubscribe } from '../bus/bus';
import { type InputKind, isName, matchesFilter, type Topics } from '../bus/topics';
import { HearthError } from '../errors';
import type { SkipReason } from '../events';
import type { Engine } from '../inference/engine';
import type { Log } from '../log';
import { type DecodedImage, decodeImage, defaultImageLimits, type ImageLimits } from '../media/image';
import type { RawFrameFormat } from '../media/raw-frame';
import type { BargeIn } from './barge-in';
import { CameraStream } from './camera-stream';
import { chunkProperties } from './chunk-properties';
import type { Dispatcher, ItemKind } from './dispatcher';
import type { Captured } from './item';
import type { MediaStore } from './media-store';
import { MicrophoneStream } from './microphone-stream';
import type { ItemPolicy, StreamPolicies, StreamsOptions, TopicPattern } from './options';
import { belongsTogether, clipCameras, type Placement, placementKey } from './placement';
import { otherStream, type SkipCounts, type Skips } from './skips';
import { patternFilter, patternStream } from './topic-pattern';
import { loadVoiceDetector, type VoiceDetectorFactory } from './voice-detector';

export interface StreamsDependencies {
  readonly options: StreamsOptions;
  readonly bus: Pick<Bus, 'subscribe'>;
  readonly topics: Topics;
  readonly dispatcher: Dispatcher;
  readonly store: MediaStore;
  readonly skips: Skips;
  readonly log: Pick<Log, 'info' | 'warn'>;
  /** Whether the loaded model takes this kind; all, when left out. */
  readonly supports?: (kind: ItemKind) => boolean;
  /** Where what is spoken goes before it is a segment. */
  readonly listen?: Engine['listen'];
  readonly watch?: Engine['watch'];
  /** Told when someone begins to speak. */
  readonly bargeIn?: Pick<BargeIn, 'speechBegins'>;
  /** With other nodes; all is this node's, when left out. */
  readonly placement?: Placement;
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
  /** False while it is switched off. */
  readonly enabled: boolean;
  /** False while its schedule has it rest. */
  readonly scheduled: boolean;
}

interface Entry {
  readonly name: string;
  policies: StreamPolicies;
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

/** `constructor` and `__proto__` are stream names like any other. */
const own = <T>(record: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(record, name) ? record[name] : undefined;

const itemKind = (kind: InputKind): ItemKind => (kind === 'frame' ? 'frame' : 'segment');

/** Why nothing of a stream is used at a moment, Unix time in seconds; undefined while it is. */
function restsAs({ enabled, scheduled }: ItemPolicy, ts: number): SkipReason | undefined {
  if (!enabled) return 'disabled';
  return scheduled(ts * 1000) ? undefined : 'scheduled-off';
}

type Items = Pick<Dispatcher, 'wants' | 'offer'>;

export class Streams {
  readonly #dependencies: StreamsDependencies;
  readonly #entries = new Map<string, Entry>();
  /** Of streams that are not as they were configured. */
  readonly #policies = new Map<string, StreamPolicies>();
  readonly #unsubscribes: Unsubscribe[] = [];
  #createDetector: VoiceDetectorFactory | undefined;
  /** Pictures are decoded one at a time: what one takes is the memory all take. */
  #decoding: Promise<unknown> = Promise.resolve();
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
      const streamOf = (topic: string): string => topics.parseIn(topic)?.stream ?? '';
      await this.#subscribeAll(topics.in(kind), kind, streamOf, (stream) => topics.in(kind, stream));
    }
    for (const { filter, kind, stream } of options.inputs) {
      await this.#subscribe(filter, kind, () => stream, !belongsTogether(kind, stream, options));
    }
    for (const pattern of options.patterns) await this.#subscribePattern(pattern);
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

  /** Counts a stream among those that are taken. Throws `STREAM_NAME_INVALID`, `STREAM_LIMIT` or `STREAM_UNLISTED`. */
  admit(stream: string): void {
    this.#entry(stream);
  }

  /** Holds instead of the options from the next message on. How a microphone cuts its speech does not change. */
  configure(stream: string, policies: StreamPolicies): void {
    this.#policies.set(stream, policies);
    const entry = this.#entries.get(stream);
    if (entry === undefined) return;
    entry.policies = policies;
    entry.camera?.configure(policies.camera.options);
  }

  /**
   * For a picture that does not come from a topic. Throws `STREAM_OFF` while its stream rests; it is skipped then, as
   * others are.
   */
  checkFrame(stream: string, at: Captured): void {
    const reason = restsAs(this.#policiesOf(stream).camera, at.receivedTs);
    if (reason === undefined) return;
    this.#dependencies.skips.skip({ stream, reason, capturedTs: at.receivedTs, topic: at.topic });
    throw new HearthError('STREAM_OFF', `stream ${stream}: expected one that is in use, this one is ${reason}`);
  }

  /** The configured streams that other nodes leave to this one; frames that the broker hands out are nobody's. */
  assigned(): string[] {
    const { options, placement } = this.#dependencies;
    const kinds = [
      ...Array.from(options.cameras.keys(), (name) => [name, 'frame'] as const),
      ...Array.from(options.microphones.keys(), (name) => [name, 'audio'] as const),
    ];
    return kinds
      .filter(([name, kind]) => {
        const shared = placement?.shareGroup !== undefined && !belongsTogether(kind, name, options);
        return placement?.owns(placementKey(kind, name, options), shared) === true;
      })
      .map(([name]) => name);
  }

  /** Everything since the start, by stream. */
  stats(): Readonly<Record<string, StreamStats>> {
    const { skips, dispatcher } = this.#dependencies;
    const skipped = skips.counts();
    const used = dispatcher.used();
    const names = new Set([...this.#entries.keys(), ...this.#policies.keys(), ...Object.keys(skipped)]);
    return Object.fromEntries(
      Array.from(names, (name) => {
        const entry = this.#entries.get(name);
        const policy = this.#policy(name);
        const stats: StreamStats = {
          received: entry?.received ?? 0,
          receivedBytes: entry?.receivedBytes ?? 0,
          used: own(used, name) ?? 0,
          skipped: own(skipped, name) ?? {},
          missingChunks: entry?.microphone?.missingChunks ?? 0,
          enabled: policy.enabled,
          scheduled: policy.scheduled(this.#now()),
        };
        return [name, stats];
      }),
    );
  }

  #now(): number {
    return this.#dependencies.scheduler?.now() ?? Date.now();
  }

  #policiesOf(stream: string): StreamPolicies {
    const { cameras, microphones, defaults } = this.#dependencies.options;
    return (
      this.#policies.get(stream) ?? {
        camera: cameras.get(stream) ?? defaults.camera,
        microphone: microphones.get(stream) ?? defaults.microphone,
      }
    );
  }

  /** Of a stream as a whole. */
  #policy(stream: string): ItemPolicy {
    const { camera, microphone } = this.#policiesOf(stream);
    return this.#dependencies.options.microphones.has(stream) ? microphone : camera;
  }

  async #subscribePattern({ template, kind, optional }: TopicPattern): Promise<void> {
    const { options, log } = this.#dependencies;
    const filter = patternFilter(template);
    const listed = (topic: string): boolean => options.inputs.some((input) => matchesFilter(input.filter, topic));
    try {
      await this.#subscribeAll(
        filter,
        kind,
        (topic) => (listed(topic) ? undefined : patternStream(template, topic)),
        // Whatever other systems call it.
        () => filter,
      );
    } catch (error) {
      if (!optional) throw error;
      log.warn({ filter, reason: String(error) }, 'the broker does not allow an input that nobody asked for');
    }
  }

  /** A filter of many streams. Those that may not be shared with other nodes have filters of their own then. */
  async #subscribeAll(
    filter: string,
    kind: InputKind,
    streamOf: (topic: string) => string | undefined,
    filterOf: (stream: string) => string,
  ): Promise<void> {
    const { options, placement } = this.#dependencies;
    const apart = (stream: string): boolean => belongsTogether(kind, stream, options);
    if (placement?.shareGroup === undefined || kind !== 'frame' || options.defaults.camera.options.clip !== undefined) {
      await this.#subscribe(filter, kind, streamOf);
      return;
    }
    const only = (takes: (stream: string) => boolean) => (topic: string) => {
      const stream = streamOf(topic);
      return stream !== undefined && takes(stream) ? stream : undefined;
    };
    await this.#subscribe(
      filter,
      kind,
      only((stream) => !apart(stream)),
      true,
    );
    for (const own of new Set(clipCameras(options).map(filterOf))) {
      await this.#subscribe(
        own,
        kind,
        only((stream) => apart(stream) && filterOf(stream) === own),
      );
    }
  }

  /** A topic without a stream is for another subscription. `share`: another node may take what comes. */
  async #subscribe(
    filter: string,
    kind: InputKind,
    streamOf: (topic: string) => string | undefined,
    share = false,
  ): Promise<void> {
    const shareGroup = share ? this.#dependencies.placement?.shareGroup : undefined;
    const unsubscribe = await this.#dependencies.bus.subscribe(
      filter,
      (topic, payload, info) => {
        const stream = streamOf(topic);
        if (stream !== undefined) this.#receive(stream, { kind, topic, payload, info });
      },
      // Whether a retained replay is used is the stream's own setting.
      {
        connection: 'ingest',
        qos: kind === 'audio/end' ? 1 : 0,
        acceptRetained: true,
        ...(shareGroup !== undefined && { shareGroup }),
      },
    );
    this.#unsubscribes.push(unsubscribe);
  }

  #isElsewhere(name: string, { kind, info }: Message): boolean {
    const { options, placement } = this.#dependencies;
    if (placement === undefined || info.shared === true) return false;
    const shared = placement.shareGroup !== undefined && !belongsTogether(kind, name, options);
    return !placement.owns(placementKey(kind, name, options), shared);
  }

  #receive(name: string, message: Message): void {
    if (this.#isElsewhere(name, message)) return;
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
    const policy = message.kind === 'frame' ? entry.policies.camera : entry.policies.microphone;
    if (message.info.retain && !policy.acceptRetained) {
      this.#skip(name, message, 'retained');
      return;
    }
    const rests = restsAs(policy, message.info.receivedTs);
    if (rests !== undefined) {
      this.#skip(name, message, rests);
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

  /** Throws `STREAM_NAME_INVALID` or, for one that is not configured, `STREAM_LIMIT` or `STREAM_UNLISTED`. */
  #entry(name: string): Entry {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    const { options, log } = this.#dependencies;
    if (!isName(name) || name === otherStream) {
      throw new HearthError(
        'STREAM_NAME_INVALID',
        `stream name: expected 1 to 64 of a-z 0-9 _ -, received ${JSON.stringify(name.slice(0, 80))}`,
      );
    }
    if (!options.cameras.has(name) && !options.microphones.has(name)) this.#checkUnlisted(name);
    const entry: Entry = {
      name,
      policies: this.#policiesOf(name),
      received: 0,
      receivedBytes: 0,
    };
    this.#entries.set(name, entry);
    log.info({ stream: name }, 'first message of a stream');
    return entry;
  }

  #checkUnlisted(name: string): void {
    const { options, log } = this.#dependencies;
    if (!options.acceptUnlisted) {
      throw new HearthError('STREAM_UNLISTED', `stream ${name}: expected one that is listed under streams`);
    }
    if (this.#entries.size < options.maxStreams) return;
    const message = `stream ${name}: expected at most ${options.maxStreams} streams`;
    // Once: whoever floods the inputs must not flood the log as well.
    if (!this.#limitLogged) log.warn({ stream: name, code: 'STREAM_LIMIT' }, message);
    this.#limitLogged = true;
    throw new HearthError('STREAM_LIMIT', message);
  }

  #camera(entry: Entry): CameraStream {
    const { dispatcher, store, skips, scheduler, watch } = this.#dependencies;
    entry.camera ??= new CameraStream(entry.name, entry.policies.camera.options, {
      dispatcher,
      store,
      skips,
      decode: (payload, raw) => this.#decode(payload, raw),
      ...(watch !== undefined && {
        watch: (maxTokens) => watch({ priority: entry.policies.camera.priority, maxTokens }),
      }),
      ...(scheduler !== undefined && { scheduler }),
    });
    return entry.camera;
  }

  #microphone(entry: Entry): MicrophoneStream {
    const { dispatcher, store, skips, scheduler, options, listen, bargeIn } = this.#dependencies;
    const createDetector = this.#createDetector;
    if (createDetector === undefined) throw new HearthError('INTERNAL', 'streams: audio came before start');
    entry.microphone ??= new MicrophoneStream(entry.name, entry.policies.microphone.options, {
      dispatcher: this.#overheard(),
      store,
      skips,
      createDetector,
      maxChunkMs: options.maxChunkMs,
      onSpeech: (ts) => bargeIn?.speechBegins(entry.name, ts, entry.policies.microphone.bargeIn),
      ...(scheduler !== undefined && { scheduler }),
      ...(listen !== undefined && {
        // Not for a camera that only wants the sound for its clips.
        listen: () =>
          dispatcher.wants('segment', entry.name)
            ? listen({ priority: entry.policies.microphone.priority })
            : undefined,
      }),
    });
    return entry.microphone;
  }

  /** The dispatcher of a microphone: cameras that have sound with their clips hear what is said, too. */
  #overheard(): Items {
    const { dispatcher, store } = this.#dependencies;
    const camerasWith = (microphone: string): Entry[] =>
      Array.from(this.#entries.values()).filter(({ policies }) => policies.camera.options.clip?.sound === microphone);
    return {
      wants: (kind, stream) => dispatcher.wants(kind, stream) || camerasWith(stream).length > 0,
      offer: (item, options) => {
        const media = store.get(item.media.ref);
        const cameras = camerasWith(item.stream);
        if (item.kind === 'segment' && media.type === 'audio') {
          const startedTs = item.capturedTs - item.durationMs / 1000;
          for (const { camera } of cameras) camera?.hear({ audio: media.audio, startedTs });
        }
        // Nobody else's loss: that it was heard with the pictures is use enough.
        if (cameras.length > 0 && !dispatcher.wants(item.kind, item.stream)) store.release(item.media.ref);
        else dispatcher.offer(item, options);
      },
    };
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
