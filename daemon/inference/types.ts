/**
 * What the daemon asks of the engine and what it gets back. Plain data only: every value here crosses the process
 * boundary to the runner, and most of them the thread boundary to a plugin.
 */

/** JSON Schema (draft 2020-12 subset); the grammar compiler says which keywords it honours. */
export type JsonSchema = { readonly [key: string]: unknown } | boolean;

/** A decoded picture: RGB, 8 bit, row-major, `width * height * 3` bytes. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Mono samples at 16 kHz in [-1, 1]. */
export interface AudioClip {
  readonly samples: Float32Array;
}

export type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly image: RgbImage }
  | { readonly type: 'audio'; readonly audio: AudioClip }
  | {
      /** Frames in time order and, optionally, the sound that goes with them. */
      readonly type: 'video';
      readonly frames: readonly { readonly image: RgbImage; readonly timeMs: number }[];
      readonly audio?: AudioClip;
      /** At most this many frames are used, spread evenly over time. */
      readonly maxFrames?: number;
    };

export interface Message {
  readonly role: 'system' | 'user' | 'model';
  readonly parts: readonly Part[];
}

export interface Sampling {
  /** 0 is greedy. */
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly seed?: number;
}

/**
 * A MatFormer slice: a name from the table in `gemma3n` (`e4b`, `e3.79b` ... `e2b`), or explicit FFN widths for every
 * layer of the file plus the layers to leave out (only layers that share their KV cache may be left out).
 */
export type SliceRequest =
  | string
  | { readonly ffnWidths: readonly number[]; readonly skippedLayers: readonly number[] };

export interface GenerateRequest {
  readonly messages: readonly Message[];
  readonly maxTokens?: number;
  readonly sampling?: Sampling;
  /** Generation ends before any of these texts; the text itself is not returned. */
  readonly stop?: readonly string[];
  readonly slice?: SliceRequest;
  /** Side of the square a picture is resized to before the encoder. */
  readonly imageSize?: 256 | 512 | 768;
  /** The reply is constrained while decoding: it always parses as JSON and fits this schema. */
  readonly schema?: JsonSchema;
}

export type FinishReason = 'stop' | 'length' | 'cancelled';

export interface GenerateResult {
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly tokens: { readonly prompt: number; readonly completion: number };
  /** Milliseconds. `firstToken` counts from the start of the job in the runner. */
  readonly timings: {
    readonly encode: number;
    readonly prefill: number;
    readonly decode: number;
    readonly firstToken: number;
    readonly total: number;
  };
  readonly slice: string;
}

/** Prompts a model was trained on; they belong to the model file, not to the code. `{lang}` and `{text}` are filled in. */
export interface ModelPrompts {
  readonly caption: string;
  readonly transcribe: string;
  readonly translateAudio: string;
  readonly translate: string;
  /** `{functions}` (the functions' JSON Schemas) is filled in where the template has it. */
  readonly call: string;
  /** ISO 639-1 code -> the name the prompts use. */
  readonly languages: Readonly<Record<string, string>>;
}

export interface ModelInfo {
  readonly name: string;
  readonly architecture: string;
  readonly parameters: number;
  readonly layers: number;
  readonly contextLength: number;
  readonly modalities: readonly ('text' | 'image' | 'audio')[];
  readonly slices: readonly string[];
  readonly imageSizes: readonly number[];
  /** Longest clip the audio encoder takes, in seconds. */
  readonly maxAudioSeconds: number;
  readonly isa: string;
  readonly threads: number;
  readonly prompts: ModelPrompts;
}

/** Lifecycle of the engine as the daemon sees it; `restarting` carries why the runner ended. */
export type EngineState =
  | { readonly phase: 'starting' }
  | { readonly phase: 'loading' }
  | { readonly phase: 'ready'; readonly info: ModelInfo }
  | { readonly phase: 'restarting'; readonly reason: string; readonly attempt: number; readonly delayMs: number }
  | { readonly phase: 'failed'; readonly code: string; readonly reason: string }
  | { readonly phase: 'stopped' };

export interface GenerateOptions {
  /** Cancels within one decode step or prefill chunk. */
  readonly signal?: AbortSignal;
  /** Called with each piece of text as it is decoded; always whole UTF-8 characters. */
  readonly onText?: (piece: string) => void;
}
