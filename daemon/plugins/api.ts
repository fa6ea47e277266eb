/**
 * hearth plugin API, version 1.2. This file is the whole contract: a plugin imports nothing else of hearth's. What is
 * here goes by semantic versioning: members are added with a minor version and taken away with a major one.
 *
 * A plugin runs in a worker thread, or a process, of its own. It sees frames, speech segments and requests; it asks the engine to
 * generate; it publishes events. It never sees the engine, another plugin, or the daemon's memory.
 */
import type { FunctionDeclaration } from '../calls';
import type { EventKind, StreamEvent } from '../events';
import type { GenerateRequest, GenerateResult, JsonSchema, ModelInfo, Part } from '../inference/types';

/** Replies that call functions: how they are asked for, constrained and read. Since 1.2. */
export {
  callPrompt,
  callText,
  describeFunctions,
  type FunctionCall,
  type FunctionDeclaration,
  fillCallPrompt,
  noParameters,
  parseCalls,
  type ReplyForm,
  replySchema,
  resultText,
} from '../calls';
export type { CallOutcome, EventKind, SkipReason, StreamEvent } from '../events';
/** What of a JSON Schema the runtime does not enforce while it decodes, and where; undefined where it does. Since 1.2. */
export { unenforcedIn } from '../inference/enforced';
export type {
  AudioClip,
  GenerateResult,
  JsonSchema,
  Message,
  ModelInfo,
  ModelPrompts,
  Part,
  RgbImage,
  Sampling,
  SliceRequest,
  Speculation,
  VideoPart,
} from '../inference/types';

/** The version of this contract. A plugin's `apiVersion` is a semver range that must include it. */
export const apiVersion = '1.2.0';

export interface PluginManifest {
  /** `[a-z][a-z0-9-]*`, unique in a daemon. */
  readonly name: string;
  /** Of the plugin, for `info`. */
  readonly version: string;
  /** Semver range of the API versions it works with, such as `^1.0.0`. */
  readonly apiVersion: string;
  /** One sentence. */
  readonly description: string;
  /** What it may be handed; it is handed what it registered a handler for. */
  readonly consumes?: readonly ('frame' | 'segment' | 'clip')[];
  /** Request verbs it answers (`hearth/<node>/request/<verb>`). */
  readonly verbs?: readonly string[];
  /** Event kinds it publishes through `ctx.emit`. */
  readonly emits?: readonly EventKind[];
  /**
   * MQTT topic filters beyond the event topics. `{base}` and `{node}` stand for the daemon's own base topic and node id
   * (since 1.1). `{config.some.path}` is filled in from the plugin's configuration; `*` in
   * such a path stands for every element of an array. A level that holds another `{...}` afterwards counts as `+`.
   * Publishing or subscribing outside these fails with `PLUGIN_TOPIC_UNDECLARED`.
   */
  readonly topics?: { readonly publish?: readonly string[]; readonly subscribe?: readonly string[] };
  /**
   * JSON Schema of the plugin's configuration, an object; defaults in it are applied. Without one, no option is taken.
   * A configuration that does not fit is `PLUGIN_CONFIG_INVALID`, and the plugin does not start.
   */
  readonly configSchema?: JsonSchema;
  /**
   * `process` runs it in a process of its own, whose end, whatever the reason, is not felt by the daemon; `worker`, the
   * default, in a thread, which takes less memory. The configuration may say otherwise. Since 1.1.
   */
  readonly isolation?: 'worker' | 'process';
}

/**
 * What a plugin keeps beyond its own end: at most 1000 keys of 1 to 256 characters and JSON values, 1 MiB in all.
 * Nobody else sees it. Since 1.1.
 */
export interface PluginStorage {
  /** A copy of the value; undefined where there is none. */
  get(key: string): Promise<unknown>;
  /**
   * Resolves when the value is on disk, which is slow on an SD card: keep counts of every frame elsewhere. Rejects with
   * `PLUGIN_STORAGE_INVALID`, `PLUGIN_STORAGE_FULL` or `FILE_WRITE_FAILED`, and then keeps what was there. All of these
   * reject with `FILE_UNREADABLE` while what was kept cannot be read.
   */
  set(key: string, value: unknown): Promise<void>;
  /** Resolves to whether there was a value. */
  delete(key: string): Promise<boolean>;
  /** The keys, sorted; those that begin with `prefix`, when it is given. */
  list(prefix?: string): Promise<readonly string[]>;
}

/** Values of a metric's labels; those that were not declared are refused. */
export type MetricLabels = Readonly<Record<string, string>>;

/**
 * Numbers for `GET /metrics`: `name` appears as `hearth_plugin_<plugin>_<name>{plugin="<plugin>"}`. Names and labels are
 * `[a-z][a-z0-9_]*`. At most 32 metrics, 4 labels each, 100 combinations of their values each; what comes beyond is
 * dropped, and said so in the log once. A metric that cannot be is `PLUGIN_METRIC_INVALID`, thrown. Since 1.1.
 */
export interface PluginMetrics {
  /** Something that only grows, such as `birds_total`. Counts survive a restart of the plugin, not of the daemon. */
  counter(name: string, help: string, labels?: readonly string[]): { inc(by?: number, labels?: MetricLabels): void };
  /** Something that goes up and down. */
  gauge(name: string, help: string, labels?: readonly string[]): { set(value: number, labels?: MetricLabels): void };
  /** `buckets`: 1 to 20 upper bounds, ascending. */
  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labels?: readonly string[],
  ): { observe(value: number, labels?: MetricLabels): void };
}

/**
 * A picture or a sound the daemon holds for the plugin while the handler runs. Put it into a prompt with `part`;
 * the pixels and samples themselves stay in the daemon unless `ctx.read` asks for them.
 */
export interface MediaRef {
  readonly ref: string;
}

/** What the configuration says about one stream. */
export interface StreamSettings {
  /** Replaces the plugin's and the model's prompt. */
  readonly prompt?: string;
  /** ISO 639-1: of the captions of a camera, of what is spoken into a microphone. */
  readonly language?: string;
}

interface Item {
  /** ULID; its events have this id. */
  readonly id: string;
  readonly stream: string;
  /** The stream's own settings, where it has any. */
  readonly settings?: StreamSettings;
  /** Unix time in seconds. */
  readonly capturedTs: number;
  readonly topic: string;
  readonly sha256: string;
  readonly media: MediaRef;
}

export interface FrameItem extends Item {
  readonly kind: 'frame';
  readonly width: number;
  readonly height: number;
}

export interface SegmentItem extends Item {
  readonly kind: 'segment';
  readonly durationMs: number;
}

/** What a camera showed within some seconds, and a microphone heard meanwhile. Its media is a video. */
export interface ClipItem extends Item {
  readonly kind: 'clip';
  readonly frames: number;
  readonly sounds: number;
  /** From the first frame to the last; `capturedTs` is that of the last. */
  readonly durationMs: number;
}

/** A picture the plugin gets by itself, such as over HTTP. Since 1.1. */
export interface FrameSource {
  readonly stream: string;
  /** Where the plugin heard of it: `source.topic` of the events. */
  readonly topic: string;
  /** Unix time in seconds; now, when left out. */
  readonly capturedTs?: number;
  /** Gets the bytes of a JPEG, PNG or WebP. */
  load(): Promise<Uint8Array>;
}

export interface RequestItem {
  readonly kind: 'request';
  readonly id: string;
  readonly verb: string;
  /** The JSON object that came in, without the members the daemon consumes (`id`, `image`, `audio`). */
  readonly payload: Readonly<Record<string, unknown>>;
  readonly image?: MediaRef;
  readonly audio?: MediaRef;
}

export type PluginPart = Part | { readonly type: 'media'; readonly media: MediaRef };

export interface PluginMessage {
  readonly role: 'system' | 'user' | 'model';
  readonly parts: readonly PluginPart[];
}

export interface PluginGenerateRequest extends Omit<GenerateRequest, 'messages'> {
  readonly messages: readonly PluginMessage[];
  /** The item this job is for: it carries stream, priority and deadline, and its partial text is published. */
  readonly item?: { readonly id: string };
  /**
   * False for a job that goes on when someone begins to speak into the microphone its item is from: what was said before
   * has to be written down all the same. Others reject with `BARGE_IN` then, where the microphone's `audio.bargeIn` is
   * `all`, or `answers` and the plugin emits answers. Since 1.1.
   */
  readonly bargeIn?: false;
}

export interface PluginResult extends GenerateResult {
  /** Names the job towards `emit`. */
  readonly job: string;
}

/**
 * The fields of an event a plugin fills in; the daemon adds the rest from the item and the job. `summary` is made of
 * `text` where it is left out. A second event of one kind for one item gets an id of its own.
 */
export interface EmitFields
  extends Partial<Pick<StreamEvent, 'text' | 'lang' | 'call' | 'outcome' | 'dry_run' | 'summary'>> {
  readonly kind: Exclude<EventKind, 'skipped' | 'error'>;
  /** The item in hand; with `late`, one of the last 64 that were. */
  readonly item: FrameItem | SegmentItem | ClipItem;
  /** Where the text is from: gives the event its model, slice, token counts and time to first token. */
  readonly result?: PluginResult;
  /** The handler of the item has ended, as where someone confirmed it later. Such an event has an id of its own. Since 1.2. */
  readonly late?: boolean;
}

/** Where a call of a registered function comes from. Since 1.2. */
export interface CallContext {
  /** Of the call. */
  readonly id: string;
  readonly source: 'speech' | 'picture' | 'text';
  /** The microphone or camera, where it is from one. */
  readonly stream?: string;
}

/**
 * An error with a code: one of the daemon's (`REQUEST_INVALID` for a request that does not fit, `PLUGIN_CONFIG_INVALID`
 * from `start` for a configuration that cannot work, `ITEM_UNWANTED` for an item that is not for this plugin after all:
 * one that every plugin hands back so is skipped as `no-consumer`). Any other error is reported as `PLUGIN_FAILED`.
 */
export class PluginError extends Error {
  override readonly name = 'PluginError';
  readonly retryable: boolean;

  constructor(
    readonly code: string,
    message: string,
    options: { readonly cause?: unknown; readonly retryable?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.retryable = options.retryable ?? false;
  }
}

export interface PluginContext<Config = Readonly<Record<string, unknown>>> {
  /** The plugin's configuration, checked against the schema of its manifest, with its defaults. */
  readonly config: Config;
  /** `node.id`: the daemon's name in topics. */
  readonly node: string;
  /** What the daemon's own topics begin with, before the node. Since 1.1. */
  readonly baseTopic: string;
  /** The model that is loaded; a new one means a restart of the plugin. */
  readonly model: ModelInfo;
  /** Aborted when the plugin is being stopped. */
  readonly signal: AbortSignal;
  /** Goes to the daemon's log as `plugin/<name>`, to `hearth plugin logs`, and without its fields to MQTT. */
  readonly log: {
    debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
    info(message: string, fields?: Readonly<Record<string, unknown>>): void;
    warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
    error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  };
  /**
   * Handlers get one item at a time per stream; while one runs, newer frames replace each other, segments and clips wait.
   * A handler that rejects publishes an `error` event for its item; one that lets an error of `generate` through whose
   * job never ran (`QUEUE_FULL`, `JOB_DEADLINE`, ...) makes it a `skipped` one. Handlers are registered in `start`.
   */
  onFrame(handler: (frame: FrameItem) => Promise<void> | void): void;
  /** As `onFrame`, for what was said into a microphone. */
  onSegment(handler: (segment: SegmentItem) => Promise<void> | void): void;
  /** Clips come from the cameras whose frames are gathered into them; such a camera has no single frames. Since 1.1. */
  onClip(handler: (clip: ClipItem) => Promise<void> | void): void;
  /** What the handler returns is the response's `data`. */
  onRequest(verb: string, handler: (request: RequestItem) => Promise<unknown> | unknown): void;
  /**
   * Registers a function the model may call; the handler runs it, and what it returns (JSON, 16,384 characters at most,
   * within 30 s) goes back to the model. At any time; the same name again replaces it. It is offered by the plugin
   * `function-calls`, which holds the calls to its policy and checks arguments against `parameters`. Resolves to what
   * ends it; a plugin that ends takes its functions along, but a new run of it takes them over: calls that come in between
   * wait for the name to be registered again, in `start` or within five seconds. Rejects with `CALL_FUNCTION_INVALID`,
   * also for `parameters` that cannot be enforced while decoding. Since 1.2.
   */
  registerFunction(
    declaration: FunctionDeclaration,
    handler: (args: Readonly<Record<string, unknown>>, context: CallContext) => Promise<unknown> | unknown,
  ): Promise<() => Promise<void>>;
  /** The functions all plugins have registered. Since 1.2. */
  functions(): Promise<readonly FunctionDeclaration[]>;
  /** Runs one of them. Rejects with a `CALL_` code, or as its handler does. Since 1.2. */
  callFunction(name: string, args: Readonly<Record<string, unknown>>, context: CallContext): Promise<unknown>;
  /**
   * Makes a frame of a picture the plugin gets by itself and holds it while the handler runs: jobs and events may be for
   * it; other plugins are not handed it. What fails, `load` included, is published as an `error` event of the stream and
   * rejected with. At most 4 at a time, further ones reject with `MEDIA_STORE_FULL`; where the stream is switched off or
   * not scheduled, with `STREAM_OFF`. Since 1.1.
   */
  withFrame<T>(source: FrameSource, handler: (frame: FrameItem) => Promise<T> | T): Promise<T>;
  /** Queues a job for the engine. Rejects with an error that has `code` and `retryable`. */
  generate(request: PluginGenerateRequest): Promise<PluginResult>;
  /** Publishes an event of a declared kind. Rejects with `PLUGIN_EMIT_INVALID` or as `publish` does. */
  emit(fields: EmitFields): Promise<void>;
  /** Resolves when the broker (QoS 1) or the socket (QoS 0, the default) has it. Rejects with `PLUGIN_TOPIC_UNDECLARED` or a `BUS_` code. */
  publish(
    topic: string,
    payload: string | Uint8Array,
    options?: { readonly qos?: 0 | 1; readonly retain?: boolean },
  ): Promise<void>;
  /** Messages a handler has no time for are dropped and counted in the log. Retained replays are handed on. */
  subscribe(filter: string, handler: (topic: string, payload: Uint8Array) => void | Promise<void>): Promise<void>;
  /** A copy of the pixels or samples behind a reference, while the handler of its item runs; `MEDIA_GONE` afterwards. */
  read(media: MediaRef): Promise<Extract<Part, { readonly type: 'image' | 'audio' | 'video' }>>;
  /** What it keeps beyond its own end. Since 1.1. */
  readonly storage: PluginStorage;
  /** Numbers of its own in `GET /metrics`. Since 1.1. */
  readonly metrics: PluginMetrics;
}

/** What a plugin module exports as its default. */
export interface Plugin<Config = Readonly<Record<string, unknown>>> {
  readonly manifest: PluginManifest;
  /** Registers handlers and subscribes. It runs once this resolves; what rejects is tried again with growing delays. */
  start(ctx: PluginContext<Config>): Promise<void> | void;
  /** Called before the end, once nothing is in hand any more; has half a second. */
  stop?(): Promise<void> | void;
}

/** Gives a plugin module its types: `export default definePlugin({ manifest, start })`. */
export function definePlugin<Config = Readonly<Record<string, unknown>>>(plugin: Plugin<Config>): Plugin<Config> {
  return plugin;
}
