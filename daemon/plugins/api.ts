/**
 * hearth plugin API, version 1. This file is the whole contract: a plugin imports nothing else of hearth's.
 *
 * A plugin runs in a worker thread of its own. It sees frames, speech segments and requests; it asks the engine to
 * generate; it publishes events. It never sees the engine, another plugin, or the daemon's memory.
 */
import type { EventKind, StreamEvent } from '../events';
import type { GenerateRequest, GenerateResult, JsonSchema, ModelInfo, Part } from '../inference/types';

export type { EventKind, SkipReason, StreamEvent } from '../events';
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
} from '../inference/types';

/** The version of this contract. A plugin's `apiVersion` is a semver range that must include it. */
export const apiVersion = '1.0.0';

export interface PluginManifest {
  /** `[a-z][a-z0-9-]*`, unique in a daemon. */
  readonly name: string;
  readonly version: string;
  /** Semver range of the API versions it works with, such as `^1.0.0`. */
  readonly apiVersion: string;
  readonly description: string;
  /** What it wants to be handed. */
  readonly consumes?: readonly ('frame' | 'segment')[];
  /** Request verbs it answers (`hearth/<node>/request/<verb>`). */
  readonly verbs?: readonly string[];
  /** Event kinds it publishes through `ctx.emit`. */
  readonly emits?: readonly EventKind[];
  /**
   * MQTT topics beyond the event topics. `{config.some.path}` is filled in from the plugin's configuration.
   * Publishing or subscribing outside these fails with `PLUGIN_TOPIC_UNDECLARED`.
   */
  readonly topics?: { readonly publish?: readonly string[]; readonly subscribe?: readonly string[] };
  /** JSON Schema of the plugin's configuration; defaults in it are applied. */
  readonly configSchema?: JsonSchema;
}

/**
 * A picture or a sound the daemon holds for the plugin while the handler runs. Put it into a prompt with `part`;
 * the pixels and samples themselves stay in the daemon unless `ctx.read` asks for them.
 */
export interface MediaRef {
  readonly ref: string;
}

interface Item {
  /** ULID; use it as the event's id. */
  readonly id: string;
  readonly stream: string;
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

export interface RequestItem {
  readonly kind: 'request';
  readonly id: string;
  readonly verb: string;
  /** The JSON object that came in, without the members the daemon consumes (`image`, `audio`). */
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
}

/** The fields of an event a plugin fills in; the daemon adds the rest from the item and the result. */
export interface EmitFields extends Partial<Pick<StreamEvent, 'text' | 'lang' | 'call' | 'summary' | 'error'>> {
  readonly kind: EventKind;
  readonly item: FrameItem | SegmentItem;
  readonly result?: GenerateResult;
}

export interface PluginContext<Config = Readonly<Record<string, unknown>>> {
  readonly config: Config;
  readonly node: string;
  /** The model that is loaded; a new one means a restart of the plugin. */
  readonly model: ModelInfo;
  /** Aborted when the plugin is being stopped. */
  readonly signal: AbortSignal;
  readonly log: {
    debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
    info(message: string, fields?: Readonly<Record<string, unknown>>): void;
    warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
    error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  };
  /**
   * Handlers get one item at a time per stream; while one runs, newer frames replace each other and segments wait.
   * A handler that rejects publishes an `error` event for its item.
   */
  onFrame(handler: (frame: FrameItem) => Promise<void> | void): void;
  onSegment(handler: (segment: SegmentItem) => Promise<void> | void): void;
  /** What the handler returns is the response's `data`. */
  onRequest(verb: string, handler: (request: RequestItem) => Promise<unknown> | unknown): void;
  /** Queues a job for the engine. Rejects with an error that has `code` and `retryable`. */
  generate(request: PluginGenerateRequest): Promise<GenerateResult>;
  emit(fields: EmitFields): Promise<void>;
  publish(topic: string, payload: string | Uint8Array, options?: { readonly qos?: 0 | 1; readonly retain?: boolean }): Promise<void>;
  subscribe(filter: string, handler: (topic: string, payload: Uint8Array) => void): Promise<void>;
  /** The pixels or samples behind a reference. */
  read(media: MediaRef): Promise<Part>;
}

export interface Plugin<Config = Readonly<Record<string, unknown>>> {
  readonly manifest: PluginManifest;
  start(ctx: PluginContext<Config>): Promise<void> | void;
  stop?(): Promise<void> | void;
}

/** Gives a plugin module its types: `export default definePlugin({ manifest, start })`. */
export function definePlugin<Config = Readonly<Record<string, unknown>>>(plugin: Plugin<Config>): Plugin<Config> {
  return plugin;
}
