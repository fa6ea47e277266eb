/** What the host and a plugin's worker say to each other. */
import type { FunctionDeclaration } from '../calls';
import type { ModelInfo } from '../inference/types';
import type {
  CallContext,
  ClipItem,
  EmitFields,
  FrameItem,
  MetricLabels,
  Part,
  PluginGenerateRequest,
  PluginResult,
  RequestItem,
  SegmentItem,
} from './api';
import type { MetricDefinition } from './metric-definition';
import type { Transferred, WireError } from './rpc';

export type MediaPart = Extract<Part, { readonly type: 'image' | 'audio' | 'video' }>;
export type LogSeverity = 'debug' | 'info' | 'warn' | 'error';

export interface WorkerSetup {
  readonly file: string;
}

export interface StartSetup {
  readonly config: Readonly<Record<string, unknown>>;
  readonly node: string;
  readonly baseTopic: string;
  readonly model: ModelInfo;
}

/** What the plugin registered handlers for in `start`. */
export interface Registered {
  readonly consumes: readonly ('frame' | 'segment' | 'clip')[];
  readonly verbs: readonly string[];
}

/** Called by the host. */
export interface WorkerMethods {
  /** Loads the module; resolves to its manifest, unchecked. */
  load(): Promise<unknown>;
  start(setup: StartSetup): Promise<Registered>;
  item(item: FrameItem | SegmentItem | ClipItem): Promise<void>;
  request(request: RequestItem): Promise<unknown>;
  /** A message of a subscription; resolves when its handlers have it. */
  message(filter: string, topic: string, payload: Uint8Array): Promise<void>;
  /** Runs a function the plugin has registered. */
  callFunction(name: string, args: Readonly<Record<string, unknown>>, context: CallContext): Promise<unknown>;
  stop(): Promise<void>;
}

export interface WorkerNotices {
  ping(): void;
}

/** Called by the worker. */
export interface HostMethods {
  /** A picture the plugin gets by itself: an id for it, its pixels, and its end, well or not. */
  openFrame(source: { readonly stream: string; readonly topic: string; readonly capturedTs?: number }): string;
  fillFrame(id: string, bytes: Uint8Array): Promise<FrameItem>;
  closeFrame(id: string, error?: WireError): Promise<void>;
  generate(request: PluginGenerateRequest): Promise<PluginResult>;
  emit(fields: EmitFields): Promise<void>;
  publish(
    topic: string,
    payload: string | Uint8Array,
    options?: { readonly qos?: 0 | 1; readonly retain?: boolean },
  ): Promise<void>;
  subscribe(filter: string): Promise<void>;
  read(ref: string): Transferred<MediaPart>;
  registerFunction(declaration: FunctionDeclaration): void;
  unregisterFunction(name: string): void;
  functions(): readonly FunctionDeclaration[];
  callFunction(name: string, args: Readonly<Record<string, unknown>>, context: CallContext): Promise<unknown>;
  /** Values are JSON texts: what a value takes to write is the plugin's own time. */
  storageGet(key: string): Promise<string | undefined>;
  storageSet(key: string, json: string | undefined): Promise<void>;
  storageDelete(key: string): Promise<boolean>;
  storageList(prefix?: string): Promise<readonly string[]>;
}

export interface HostNotices {
  /** `externalBytes`: memory outside its heap, which no limit of V8 counts; `heapBytes`: the heap itself. */
  pong(externalBytes: number, heapBytes: number): void;
  log(severity: LogSeverity, message: string, fields: Readonly<Record<string, unknown>>): void;
  metric(definition: MetricDefinition): void;
  measure(name: string, value: number, labels: MetricLabels): void;
}
