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

export interface VideoFrame {
  readonly image: RgbImage;
  /** Milliseconds since whenever the video's time began. */
  readonly timeMs: number;
}

export interface VideoSound {
  readonly audio: AudioClip;
  /** When it begins. */
  readonly timeMs: number;
}

/** Pictures and what is heard meanwhile; the model gets them in time order. */
export interface VideoPart {
  readonly type: 'video';
  readonly frames: readonly VideoFrame[];
  /** Each takes as many soft tokens as any sound does, however short. */
  readonly sounds?: readonly VideoSound[];
  /** Frames that come sooner after the last one are left out. */
  readonly framesPerSecond?: number;
  /** Soft tokens that frames and sounds may take; those frames are left out that change least. 2048 when left out. */
  readonly maxTokens?: number;
}

export type Part =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'image'; readonly image: RgbImage }
  | { readonly type: 'audio'; readonly audio: AudioClip }
  | VideoPart;

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
 * A MatFormer slice: a name from the table in `gemma3n` (`e4b`, `e3.79b` ... `e2b`), such a name and `-tail` (its layers
 * that share a KV cache as small as the smallest slice has them), or explicit FFN widths for every layer of the file
 * plus the layers to leave out (only layers that share their KV cache may be left out).
 */
export type SliceRequest =
  | string
  | { readonly ffnWidths: readonly number[]; readonly skippedLayers: readonly number[] };

/** A slice by its name, and what is to know before one is chosen. */
export interface SliceInfo {
  readonly name: string;
  /** Multiply-adds a token takes when it is decoded, and as part of a prompt: for comparing slices of one model. */
  readonly decodeMacs: number;
  readonly prefillMacs: number;
  /** Slices of one group leave the same keys and values behind, and may replace each other in the middle of a reply. */
  readonly kvGroup: number;
  /** The model's family was trained at it. */
  readonly published: boolean;
}

/**
 * Whether tokens are drafted and checked several at a time. It changes how long a reply takes, never what it says.
 * `auto`: for greedy replies and replies with a schema, the ones that can be guessed.
 */
export type Speculation = 'auto' | 'on' | 'off';

export interface GenerateRequest {
  readonly messages: readonly Message[];
  readonly maxTokens?: number;
  readonly sampling?: Sampling;
  /** Generation ends before any of these texts; the text itself is not returned. */
  readonly stop?: readonly string[];
  readonly slice?: SliceRequest;
  /**
   * The slice the reply goes on with once it would miss its deadline, without a new prefill. Has to be of the same KV group
   * as `slice`, that is, differ from it only in layers that share their keys and values; else `SLICE_INVALID`.
   */
  readonly tailSlice?: SliceRequest;
  /** Side of the square a picture is resized to before the encoder. */
  readonly imageSize?: 256 | 512 | 768;
  /** The reply is constrained while decoding: it always parses as JSON and fits this schema. */
  readonly schema?: JsonSchema;
  readonly speculation?: Speculation;
}

export type FinishReason = 'stop' | 'length' | 'cancelled';

export interface TokenCounts {
  readonly prompt: number;
  readonly completion: number;
  /** Tokens of the prompt that needed no prefill: an earlier job had computed them. Absent where nothing is ever kept. */
  readonly cached?: number;
  /** Where drafting was on: tokens that were drafted, and those of them that were right. */
  readonly drafted?: number;
  readonly accepted?: number;
}

export interface GenerateResult {
  readonly text: string;
  readonly finishReason: FinishReason;
  readonly tokens: TokenCounts;
  /** Pictures and sounds that needed no encoder: an earlier job had encoded them. Absent where there are none. */
  readonly cachedMedia?: number;
  /**
   * Milliseconds. `encode`, `prefill` and `decode` are the job's own, the turns of other jobs are in `waiting`.
   * `firstToken` and `total` are what passed since the start of the job in the runner.
   */
  readonly timings: {
    readonly encode: number;
    readonly prefill: number;
    readonly decode: number;
    readonly waiting: number;
    readonly firstToken: number;
    readonly total: number;
  };
  /** The slice the reply began with. */
  readonly slice: string;
  /** Where the reply went on with another slice: its name, and the number of tokens the first one had made. */
  readonly tail?: { readonly slice: string; readonly afterTokens: number };
  /** Side of the square the pictures were resized to; absent without pictures. */
  readonly imageSize?: number;
  /** Why it ran as it did; absent where nothing chose. */
  readonly choice?: Choice;
}

/** What can speak for a slice or a picture size. */
export const choiceReasons = [
  'nominal', // nothing spoke against the largest
  'request', // the request names it
  'pinned', // the configuration names it
  'temperature', // the SoC is warm
  'throttled', // the board runs slower than it could, or gets too little voltage
  'memory', // memory is short
  'queue', // jobs are waiting
  'deadline', // a larger one would not be done in time
  'cache', // keys and values that are there already make it the least work
] as const;
export type ChoiceReason = (typeof choiceReasons)[number];

/** What the governor chose for a job. */
export interface Choice {
  readonly reasons: readonly ChoiceReason[];
  /** The same as a sentence, with what was measured. */
  readonly why: string;
}

/** Prompts a model was trained on; they belong to the model file, not to the code. `{lang}` and `{text}` are filled in. */
export interface ModelPrompts {
  readonly caption: string;
  /** About pictures that were taken one after the other. */
  readonly video: string;
  readonly transcribe: string;
  readonly translateAudio: string;
  readonly translate: string;
  /** `{functions}` (the functions' JSON Schemas) is filled in where the template has it. */
  readonly call: string;
  /** The same where a reply may have several calls; `{max}` is how many. */
  readonly calls: string;
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
  /** The same slices, with what they cost. */
  readonly sliceInfos: readonly SliceInfo[];
  /** The largest of them, which jobs run on unless something else is said: `full`, or the one that was loaded alone. */
  readonly loadedSlice: string;
  readonly imageSizes: readonly number[];
  /** The one it was trained with; 0 without a vision encoder. */
  readonly imageSize: number;
  /** Longest clip the audio encoder takes, in seconds. */
  readonly maxAudioSeconds: number;
  readonly isa: string;
  readonly threads: number;
  readonly memory: ModelMemory;
  readonly prompts: ModelPrompts;
}

/** What a model takes when everything is full, in bytes; known before the first job. */
export interface ModelMemory {
  /** What keys and values are kept in. */
  readonly kvType: string;
  /** Keys and values of one session with a full context: as `kvType`, and as either would be (0 where it cannot be). */
  readonly kvBytes: number;
  readonly kvBytesF16: number;
  readonly kvBytesQ8: number;
  /** Sessions, each with keys and values of its own. */
  readonly sessions: number;
  /** Weights that stay in memory, and the encoders' file. */
  readonly weightBytes: number;
  readonly encoderBytes: number;
  /** All of it, the prefix cache and the buffers as well: what `model.memoryLimit` is compared with. */
  readonly totalBytes: number;
}

/** What of computing was saved since the model was loaded, and the memory that takes. */
export interface ReuseStats {
  readonly maxBytes: number;
  readonly bytes: number;
  /** Prompts and replies in the prefix cache. */
  readonly entries: number;
  /** How many of them had to go. */
  readonly evicted: number;
  /** Prompts begun, and how many of them reused at least 16 tokens. */
  readonly resumes: number;
  readonly hits: number;
  /** Tokens that needed no prefill, in all. */
  readonly positions: number;
  /** Pictures and sounds that needed no encoder. */
  readonly mediaHits: number;
}

/** Lifecycle of the engine as the daemon sees it; `restarting` carries why the runner ended. */
export type EngineState =
  | { readonly phase: 'starting' }
  /** How much of the weights is in memory, from 0 to 1. */
  | { readonly phase: 'loading'; readonly fraction: number }
  | { readonly phase: 'ready'; readonly info: ModelInfo }
  | { readonly phase: 'restarting'; readonly reason: string; readonly attempt: number; readonly delayMs: number }
  | { readonly phase: 'failed'; readonly code: string; readonly reason: string }
  | { readonly phase: 'stopped' };

export interface GenerateOptions {
  /** 0 to 9; 0 when left out. Each level doubles the job's share of the engine while others run, too. */
  readonly priority?: number;
  /** Cancels within one decode step or prefill chunk. */
  readonly signal?: AbortSignal;
  /** Called with each piece of text as it is decoded; always whole UTF-8 characters. */
  readonly onText?: (piece: string) => void;
  /** Unix time in milliseconds by which the reply should be there; what `tailSlice` goes by. */
  readonly deadlineAt?: number;
  /** Tokens the reply will probably have; all of `maxTokens` when left out. */
  readonly expectedTokens?: number;
  /** Once aborted, the rest of the reply runs on `tailSlice`, whatever the deadline. */
  readonly hurry?: AbortSignal;
}
