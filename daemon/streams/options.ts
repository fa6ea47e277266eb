/** What can be set about streams; the configuration schema and its defaults map onto these. */
import type { InputKind } from '../bus/topics';
import type { CameraOptions } from './camera-stream';
import type { MicrophoneOptions } from './microphone-stream';

/** What holds for one stream. */
export interface StreamPolicy {
  /** Of the engine jobs made for its items: higher runs first. */
  readonly priority: number;
  /** Milliseconds after capture when a job for an item must have started. */
  readonly deadlineMs: number;
  readonly camera: CameraOptions;
  readonly microphone: MicrophoneOptions;
}

/** A stream's own settings; what is left out is the default's. */
export interface StreamOverrides {
  readonly priority?: number;
  readonly deadlineMs?: number;
  readonly camera?: Partial<CameraOptions>;
  readonly microphone?: Partial<MicrophoneOptions>;
}

/** A topic outside `<base>/in/` that carries a stream, such as `frigate/+/+/snapshot`. */
export interface InputFilter {
  readonly filter: string;
  readonly kind: InputKind;
  /** The stream's name; `{1}`, `{2}` ... stand for what the first, second ... `+` of the filter matched. */
  readonly stream: string;
  /** Some senders publish only retained pictures. */
  readonly acceptRetained?: boolean;
}

export interface StreamsOptions {
  readonly maxFrameBytes: number;
  readonly maxAudioBytes: number;
  readonly maxChunkMs: number;
  /** Streams that are not in `streams` and come up by themselves, at most. */
  readonly maxStreams: number;
  readonly acceptRetained: boolean;
  readonly inputs: readonly InputFilter[];
  readonly defaults: StreamPolicy;
  readonly streams: Readonly<Record<string, StreamOverrides>>;
}

export const defaultStreamsOptions: StreamsOptions = {
  maxFrameBytes: 2 * 2 ** 20,
  maxAudioBytes: 2 * 2 ** 20,
  maxChunkMs: 30_000,
  maxStreams: 64,
  acceptRetained: false,
  inputs: [],
  streams: {},
  defaults: {
    priority: 0,
    deadlineMs: 60_000,
    camera: { minIntervalMs: 1000, duplicateThreshold: 1.5 },
    microphone: {
      mode: 'vad',
      vadAggressiveness: 2,
      preRollMs: 240,
      endSilenceMs: 600,
      keepSilenceMs: 500,
      minSpeechMs: 200,
      maxSegmentMs: 30_000,
      idleFlushMs: 1000,
    },
  },
};

export function policyOf(options: StreamsOptions, stream: string): StreamPolicy {
  const { defaults } = options;
  const own = Object.hasOwn(options.streams, stream) ? options.streams[stream] : undefined;
  return {
    priority: own?.priority ?? defaults.priority,
    deadlineMs: own?.deadlineMs ?? defaults.deadlineMs,
    camera: { ...defaults.camera, ...own?.camera },
    microphone: { ...defaults.microphone, ...own?.microphone },
  };
}

/** The stream an extra input's topic stands for, unchecked. */
export function streamOfTopic(input: InputFilter, topic: string): string {
  const levels = topic.split('/');
  const matched = input.filter.split('/').flatMap((level, i) => (level === '+' ? [levels[i] ?? ''] : []));
  return input.stream.replace(/\{(\d+)\}/g, (_whole, index: string) => matched[Number(index) - 1] ?? '');
}
