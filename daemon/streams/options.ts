/** The configuration, as the streams read it. */
import type { CameraConfig, Config, MicrophoneConfig, StreamOptions } from '../config';
import type { BargeInOptions } from './barge-in';
import type { CameraOptions } from './camera-stream';
import type { MicrophoneOptions } from './microphone-stream';
import type { Region } from './scene-gate';
import { scheduleOf } from './schedule';
import { filtersOverlap, patternFilter } from './topic-pattern';
import type { VadAggressiveness } from './voice-detector';

/** What holds for the items of a stream, whatever their kind. */
export interface ItemPolicy {
  /** Of the engine jobs made for its items: higher runs first. */
  readonly priority: number;
  /** Milliseconds after capture when a job for an item must have started. */
  readonly deadlineMs: number;
  /** Use retained replays too; some senders publish only those. */
  readonly acceptRetained: boolean;
  /** False while the stream is switched off. */
  readonly enabled: boolean;
  /** Whether the schedule has the stream used at a moment, Unix time in milliseconds. */
  readonly scheduled: (ms: number) => boolean;
}

export interface CameraPolicy extends ItemPolicy {
  readonly options: CameraOptions;
}

export interface MicrophonePolicy extends ItemPolicy {
  readonly options: MicrophoneOptions;
  readonly bargeIn: BargeInOptions;
}

export interface StreamPolicies {
  readonly camera: CameraPolicy;
  readonly microphone: MicrophonePolicy;
}

export interface StreamsOptions {
  readonly maxFrameBytes: number;
  readonly maxAudioBytes: number;
  readonly maxChunkMs: number;
  /** Streams at most; the configured ones are always taken. */
  readonly maxStreams: number;
  /** Take streams that are not configured, with `defaults`. */
  readonly acceptUnlisted: boolean;
  readonly defaults: StreamPolicies;
  readonly cameras: ReadonlyMap<string, CameraPolicy>;
  readonly microphones: ReadonlyMap<string, MicrophonePolicy>;
  /** Topic filters beside `<base>/in/<stream>/...`; a filter feeds one stream. */
  readonly inputs: readonly { readonly filter: string; readonly stream: string; readonly kind: 'frame' | 'audio' }[];
  /** Topics that name their stream in the level `{stream}`. Those of `inputs` are not taken twice. */
  readonly patterns: readonly TopicPattern[];
}

export interface TopicPattern {
  readonly template: string;
  readonly kind: 'frame' | 'audio';
  /** Nobody asked for it: a broker that refuses it is no reason not to start. */
  readonly optional: boolean;
}

const frigateSnapshots = 'frigate/{stream}/+/snapshot';
const hermesAudio = 'hermes/audioServer/{stream}/audioFrame';

/** With the usual chunks of 20 to 500 ms, a second without one means that the sender has stopped. */
const idleFlushMs = 1000;

/** What the model hears in one go. */
const maxSegmentSeconds = 30;

function itemPolicy(
  { priority, deadlineMs, acceptRetained, enabled, schedule }: StreamOptions<CameraConfig | MicrophoneConfig>,
  config: Config,
): ItemPolicy {
  return {
    priority,
    deadlineMs: deadlineMs ?? config.queue.defaultDeadlineMs,
    acceptRetained,
    enabled,
    scheduled: scheduleOf(schedule, config.timezone),
  };
}

/** Of a text that the configuration has checked. */
function regionOf(text: string): Region {
  const [x = 0, y = 0, width = 0, height = 0] = text.trim().split(/\s+/).map(Number);
  return { x, y, width, height };
}

function cameraPolicy(camera: StreamOptions<CameraConfig>, config: Config): CameraPolicy {
  const { minIntervalMs, duplicateThreshold, clip, motion } = camera;
  const { pixelFormat, width, height } = camera.raw;
  const raw = pixelFormat === null || width === null || height === null ? {} : { raw: { pixelFormat, width, height } };
  const { seconds, maxTokens, sound } = clip;
  const gathered = seconds > 0 ? { clip: { seconds, maxTokens, ...(sound !== null && { sound }) } } : {};
  const gate = { duplicateThreshold, motion: { ...motion, ignore: motion.ignore.map(regionOf) } };
  return { ...itemPolicy(camera, config), options: { minIntervalMs, ...gate, ...gathered, ...raw } };
}

function microphonePolicy(microphone: StreamOptions<MicrophoneConfig>, config: Config): MicrophonePolicy {
  const { format, sampleRate, channels, vadAggressiveness, bargeIn, bargeInStreams, ...segmenter } = microphone.audio;
  return {
    ...itemPolicy(microphone, config),
    bargeIn: { mode: bargeIn, streams: bargeInStreams },
    options: {
      ...segmenter,
      vadAggressiveness: vadAggressiveness as VadAggressiveness,
      maxSegmentMs: 1000 * Math.min(maxSegmentSeconds, config.limits.maxAudioSeconds),
      idleFlushMs,
      ...(format !== 'wav' && { pcm: { encoding: format, sampleRate, channels } }),
    },
  };
}

function patternsOf({ inputs, plugins, streams }: Config): TopicPattern[] {
  const runs = (plugin: string): boolean => Object.hasOwn(plugins, plugin) && plugins[plugin]?.enabled !== false;
  // Frames that are looked at by another way, or by name, are not looked at a second time.
  const listed = Object.values(streams).some(({ topics }) =>
    topics.some((filter) => filtersOverlap(filter, patternFilter(frigateSnapshots))),
  );
  const cameras = inputs.cameras ?? (runs('frigate') || listed ? [] : [frigateSnapshots]);
  const microphones = inputs.microphones ?? (runs('hermes') ? [hermesAudio] : []);
  return [
    ...cameras.map((template) => ({ template, kind: 'frame' as const, optional: inputs.cameras === null })),
    ...microphones.map((template) => ({ template, kind: 'audio' as const, optional: false })),
  ];
}

/** Of one stream, whatever its kind. */
export function streamPolicies(
  camera: StreamOptions<CameraConfig>,
  microphone: StreamOptions<MicrophoneConfig>,
  config: Config,
): StreamPolicies {
  return { camera: cameraPolicy(camera, config), microphone: microphonePolicy(microphone, config) };
}

export function streamsOptions(config: Config): StreamsOptions {
  const { limits, defaults } = config;
  const streams = Object.entries(config.streams);
  return {
    maxFrameBytes: limits.maxFrameBytes,
    maxAudioBytes: limits.maxAudioBytes,
    maxChunkMs: 1000 * Math.min(maxSegmentSeconds, limits.maxAudioSeconds),
    maxStreams: limits.maxStreams,
    acceptUnlisted: limits.acceptUnlistedStreams,
    defaults: streamPolicies(defaults.camera, defaults.microphone, config),
    cameras: new Map(
      streams.flatMap(([name, stream]) => (stream.kind === 'camera' ? [[name, cameraPolicy(stream, config)]] : [])),
    ),
    microphones: new Map(
      streams.flatMap(([name, stream]) =>
        stream.kind === 'microphone' ? [[name, microphonePolicy(stream, config)]] : [],
      ),
    ),
    inputs: streams.flatMap(([stream, { kind, topics }]) =>
      topics.map((filter) => ({ filter, stream, kind: kind === 'camera' ? ('frame' as const) : ('audio' as const) })),
    ),
    patterns: patternsOf(config),
  };
}
