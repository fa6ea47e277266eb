/** What the plugin host needs of the daemon, and what it is told about plugins and streams. */
import type { Bus } from '../bus/bus';
import type { Engine } from '../inference/engine';
import type { RgbImage } from '../inference/types';
import type { Log } from '../log';
import type { BargeIn } from '../streams/barge-in';
import type { Dispatcher, ItemKind } from '../streams/dispatcher';
import type { JobQueue } from '../streams/job-queue';
import type { Streams } from '../streams/streams';
import type { MetricLabels, StreamSettings } from './api';
import type { Isolation } from './isolate';
import type { MetricDefinition } from './metric-definition';

/** What holds for one stream's items. */
export interface StreamPolicy {
  /** Of its jobs: higher runs first. */
  readonly priority: number;
  /** Milliseconds after capture when a job must have started. */
  readonly deadlineMs: number;
  /** Plugins that are handed the stream; all that take its kind, when undefined. */
  readonly plugins?: readonly string[];
  readonly settings: StreamSettings;
  /** Publish text while it is being generated. */
  readonly partials: boolean;
}

export interface PluginSettings {
  readonly name: string;
  /** File or directory; undefined for one that comes with hearth. */
  readonly path?: string;
  readonly config: Readonly<Record<string, unknown>>;
  /** Megabytes of heap, and again of buffers. */
  readonly memoryMb: number;
  readonly hangTimeoutMs: number;
  /** What the manifest says, when undefined. */
  readonly isolation?: Isolation;
}

/** Where the plugins to run are read from, once more with every reload, and where it is kept which are switched off. */
export interface PluginCatalogue {
  /** Throws `CONFIG_INVALID`. */
  settings(): readonly PluginSettings[];
  /** Rejects with `PLUGIN_LOAD_FAILED` for a plugin that is not there, or with `FILE_WRITE_FAILED`. */
  setEnabled(name: string, enabled: boolean): Promise<void>;
}

/** Takes the metrics of one plugin. */
export interface MetricSink {
  define(definition: MetricDefinition): void;
  measure(name: string, value: number, labels: MetricLabels): void;
  clear(): void;
}

/** Totals of one plugin since the daemon started. */
export interface PluginStats {
  /** Jobs it asked for. */
  readonly jobs: number;
  /** Items and requests it had in hand, by how they ended. */
  readonly handled: number;
  readonly errors: number;
  /** Seconds its handlers took, the wait for the engine included. */
  readonly handlerSeconds: number;
  readonly restarts: number;
  /** The heap as it was when it was last heard of; 0 while it does not run. */
  readonly heapBytes: number;
}

export interface PluginHostOptions {
  readonly node: string;
  readonly baseTopic: string;
  readonly plugins: readonly PluginSettings[];
  readonly policy: (kind: ItemKind, stream: string) => StreamPolicy;
  /** Of jobs for requests: higher runs first. */
  readonly requestPriority: number;
  /** Of jobs for requests, and of those for neither a request nor an item. */
  readonly defaultDeadlineMs: number;
  readonly maxAudioSeconds: number;
  /** Of a picture a plugin gets by itself. */
  readonly maxFrameBytes: number;
  readonly timing: PluginTiming;
}

export interface PluginTiming {
  /** Loading and starting may take this long. */
  readonly startTimeoutMs: number;
  /** A handler may take this long, the wait for the engine included. */
  readonly handlerTimeoutMs: number;
  /** Handlers and `stop` may take this long when a plugin is being stopped. */
  readonly stopGraceMs: number;
  /** Handlers may take this long when a new run of the plugin waits to take over. */
  readonly drainLimitMs: number;
  /** A new run may take this long to register the functions of the one before again, its `start` not counted. */
  readonly functionGraceMs: number;
  /** Before the first restart; doubles with every crash in the window, up to the maximum. */
  readonly restartDelayMs: number;
  readonly maxRestartDelayMs: number;
  /** This many crashes within the window are the last. */
  readonly crashLimit: number;
  readonly crashWindowMs: number;
}

export const defaultTiming: PluginTiming = {
  startTimeoutMs: 30_000,
  handlerTimeoutMs: 600_000,
  stopGraceMs: 500,
  drainLimitMs: 60_000,
  functionGraceMs: 5000,
  restartDelayMs: 500,
  maxRestartDelayMs: 60_000,
  crashLimit: 5,
  crashWindowMs: 600_000,
};

export interface PluginHostDependencies {
  readonly options: PluginHostOptions;
  readonly bus: Pick<
    Bus,
    'publish' | 'publishEvent' | 'publishPartial' | 'publishPluginState' | 'subscribe' | 'onRequest'
  >;
  readonly engine: Pick<Engine, 'generate' | 'state$'>;
  readonly queue: Pick<JobQueue, 'submit'>;
  readonly dispatcher: Pick<Dispatcher, 'register'>;
  /** Told of every picture a plugin is handed or gets by itself. */
  readonly onPicture?: (stream: string, image: RgbImage) => void;
  /** Throws for a picture a plugin gets by itself where its stream rests. */
  readonly checkFrame?: Streams['checkFrame'];
  /** Which jobs come too late, since someone has begun to speak. */
  readonly bargeIn?: Pick<BargeIn, 'check'>;
  /** Without one, the plugins are those of `options`, with what they were given at the start. */
  readonly catalogue?: PluginCatalogue;
  /** Called when other plugins run than before, or other versions of them. */
  readonly onChanged?: () => void;
  /** Where plugins keep what they store. */
  readonly stateDirectory: string;
  /** Called once for a plugin that is run. `onRefused` hears of metrics that were not taken. */
  readonly metricsOf?: (plugin: string, onRefused: (reason: string) => void) => MetricSink;
  readonly log: Log;
}
