/**
 * The native addon with types: the only file that loads it. The addon trusts what it is given, so values are checked
 * here, and a session is kept to one call at a time.
 */
import { join } from 'node:path';
import { HearthError } from '../errors';
import type { ReuseStats, RgbImage, Sampling, SliceInfo, SliceRequest } from './types';

/** Rows of the language model's width that stand for a picture or a sound. */
export interface SoftTokens {
  readonly count: number;
  readonly rows: Float32Array;
}

export interface NativeModelInfo {
  readonly name: string;
  readonly parameters: number;
  readonly layers: number;
  readonly hidden: number;
  readonly vocab: number;
  readonly contextLength: number;
  readonly vision: boolean;
  readonly audio: boolean;
  readonly imageSoftTokens: number;
  readonly audioSoftTokens: number;
  readonly imageSize: number;
  readonly slices: readonly SliceInfo[];
  /** The largest slice that is in memory, which a session begins with: `full`, or `EngineOptions.loadSlice`. */
  readonly loadedSlice: string;
  readonly ffnWidths: readonly number[];
  readonly isa: string;
  readonly threads: number;
  /** What keys and values are kept in: f16, q8_0 or f32. */
  readonly kvType: string;
  /** Bytes of the keys and values of a session whose context is full: as they are kept, and as they would be as f16 or q8_0. */
  readonly kvBytes: number;
  readonly kvBytesF16: number;
  /** 0 for a model whose heads cannot be kept so. */
  readonly kvBytesQ8: number;
  /** Bytes of weights that stay in memory, and of the encoders' file. */
  readonly weightBytes: number;
  readonly multimodalBytes: number;
  /** All of it, with full sessions and prefix cache: what `EngineOptions.memoryLimit` is compared with. */
  readonly memoryBytes: number;
  /** JSON text of the model's own prompts, or empty. */
  readonly prompts: string;
  readonly special: {
    readonly bos: number;
    readonly eos: number;
    readonly startOfTurn: number;
    readonly endOfTurn: number;
    readonly startOfImage: number;
    readonly imageSoftToken: number;
    readonly endOfImage: number;
    readonly startOfAudio: number;
    readonly audioSoftToken: number;
    readonly endOfAudio: number;
  };
}

export interface EngineOptions {
  readonly modelPath: string;
  readonly multimodalPath?: string | undefined;
  /** 0: one for each core. */
  readonly threads?: number | undefined;
  readonly isa?: string | undefined;
  /** Everything in float32, straight from the stored weights: what quantised arithmetic is compared with. */
  readonly exact?: boolean | undefined;
  /** 0: 4096 positions, or the model's own if that is less. */
  readonly contextLength?: number | undefined;
  /** What keys and values are kept in: `f16` (when left out), `q8_0` or `f32`. */
  readonly kvType?: string | undefined;
  /** The largest slice to have in memory; weights that only larger ones need are not loaded. The whole file when left out. */
  readonly loadSlice?: string | undefined;
  /** Bytes the model may take in memory, see `EngineOptions` in `addon/runtime.h`; 0: no limit. */
  readonly memoryLimit?: number | undefined;
  /** How many sessions there may be at the same time, for `memoryLimit`; 1 when left out. */
  readonly sessions?: number | undefined;
  /** Memory for what was computed of earlier prompts, pictures and sounds; 256 MiB when left out, 0 for none. */
  readonly prefixCacheBytes?: number | undefined;
  /** Hears how much of the weights is loaded, from 0 to 1: ten times a second at most. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
}

export interface ResumeOptions {
  /** What the timeline runs on from now on; as before when left out. */
  readonly slice?: SliceRequest;
  /** Positions where what the prompt shares with others may end; they are kept for those others. */
  readonly checkpoints?: readonly number[];
}

export interface Sampled {
  readonly token: number;
  /** The model ended its turn; nothing was appended. */
  readonly end: boolean;
  /** Whole UTF-8 characters that can be shown now. */
  readonly text: string;
}

/** How tokens are drafted; what is left out is as the runtime has it. */
export interface DraftOptions {
  /** Most tokens drafted at a time, up to 8; 0 for none. */
  readonly maxTokens?: number;
  /** What computing one token more costs, in steps of one token; 0: as measured. */
  readonly rowCost?: number;
}

export interface Decoded {
  /** At least one; the last may be an end. */
  readonly sampled: readonly Sampled[];
  /** Tokens computed on the chance that they would be sampled, and how many of them were. */
  readonly drafted: number;
  readonly accepted: number;
}

type SliceHandle = { name: string } | { ffnWidths: readonly number[]; skippedLayers: readonly number[] };

interface SessionHandle {
  setSlice(slice: SliceHandle): void;
  sliceName(): string;
  setGrammar(jsonSchema: string | null): void;
  append(ids: Int32Array, soft: readonly SoftTokens[]): void;
  resume(
    ids: Int32Array,
    soft: readonly SoftTokens[],
    slice: SliceHandle | null,
    checkpoints: Int32Array,
  ): Promise<number>;
  reused(): number;
  checkpoint(): Promise<void>;
  kvBytes(): number;
  advance(maxTokens: number): Promise<number>;
  sample(sampling: Sampling): Sampled;
  decode(sampling: Sampling, maxTokens: number, draft: DraftOptions): Promise<Decoded>;
  flushText(): string;
  logits(): Float32Array;
  position(): number;
  rewind(position: number): void;
  snapshot(): Uint8Array;
  restore(snapshot: Uint8Array): void;
}

interface LiveAudioHandle {
  feed(samples: Float32Array): Promise<SoftTokens>;
  clip(): Promise<SoftTokens>;
  close(): void;
}

interface EngineHandle {
  info(): NativeModelInfo;
  tokenize(text: string, parseSpecial: boolean): Int32Array;
  detokenize(ids: Int32Array): string;
  encodeImage(rgb: Uint8Array, width: number, height: number, size: number): Promise<SoftTokens>;
  encodeAudio(samples: Float32Array): Promise<SoftTokens>;
  listen(): LiveAudioHandle;
  newSession(): SessionHandle;
  reuse(): ReuseStats;
}

interface Addon {
  initialize(errorClass: typeof HearthError): void;
  openEngine(options: EngineOptions): Promise<EngineHandle>;
}

let addon: Addon | undefined;

function loadAddon(): Addon {
  if (addon === undefined) {
    addon = require(join(__dirname, '../../../build/Release/hearth.node')) as Addon;
    addon.initialize(HearthError);
  }
  return addon;
}

function invalid(message: string): HearthError {
  return new HearthError('OPTION_INVALID', message);
}

function checkCount(name: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalid(`${name} must be an integer from ${min} to ${max}, not ${value}`);
  }
  return value;
}

function checkRange(name: string, value: number | undefined, min: number, max: number): void {
  if (value !== undefined && !(value >= min && value <= max))
    throw invalid(`${name} must be from ${min} to ${max}, not ${value}`);
}

function checkSampling(sampling: Sampling): void {
  checkRange('temperature', sampling.temperature, 0, 100);
  checkRange('topK', sampling.topK, 0, 2 ** 31 - 1);
  checkRange('topP', sampling.topP, 0, 1);
  checkRange('minP', sampling.minP, 0, 1);
  checkRange('seed', sampling.seed, 0, Number.MAX_SAFE_INTEGER);
}

function checkSlice(slice: SliceRequest): SliceHandle {
  if (typeof slice === 'string') {
    if (slice === '') throw new HearthError('SLICE_INVALID', 'the slice name is empty');
    return { name: slice };
  }
  for (const width of slice.ffnWidths) checkCount('an FFN width', width, 1, 2 ** 31 - 1);
  for (const layer of slice.skippedLayers) checkCount('a skipped layer', layer, 0, 1023);
  return slice;
}

/** A loaded model. */
export class NativeEngine {
  readonly info: NativeModelInfo;

  private constructor(private readonly handle: EngineHandle) {
    this.info = handle.info();
  }

  static async open(options: EngineOptions): Promise<NativeEngine> {
    checkCount('threads', options.threads ?? 0, 0, 256);
    checkCount('contextLength', options.contextLength ?? 0, 0, 2 ** 24);
    checkCount('sessions', options.sessions ?? 1, 1, 64);
    checkCount('memoryLimit', options.memoryLimit ?? 0, 0, 2 ** 50);
    checkCount('prefixCacheBytes', options.prefixCacheBytes ?? 0, 0, 2 ** 40);
    return new NativeEngine(await loadAddon().openEngine(options));
  }

  /** `parseSpecial` only for text of our own: it turns `<start_of_turn>` into the control token. */
  tokenize(text: string, parseSpecial = false): Int32Array {
    return this.handle.tokenize(text, parseSpecial);
  }

  detokenize(ids: Int32Array): string {
    return this.handle.detokenize(ids);
  }

  /** size: 256, 512 or 768; 0 for the model's own. */
  async encodeImage(image: RgbImage, size: number): Promise<SoftTokens> {
    const width = checkCount('image width', image.width, 1, 65_535);
    const height = checkCount('image height', image.height, 1, 65_535);
    if (image.data.length !== width * height * 3) {
      throw new HearthError(
        'IMAGE_INVALID',
        `${width}x${height} RGB is ${width * height * 3} bytes, not ${image.data.length}`,
      );
    }
    return await this.handle.encodeImage(image.data, width, height, size);
  }

  /** Mono samples at 16 kHz, at most 30 s. */
  async encodeAudio(samples: Float32Array): Promise<SoftTokens> {
    return await this.handle.encodeAudio(samples);
  }

  /** A clip that is still being spoken. */
  listen(): NativeLiveAudio {
    return new NativeLiveAudio(this.handle.listen());
  }

  newSession(): NativeSession {
    return new NativeSession(this.handle.newSession());
  }

  reuse(): ReuseStats {
    return this.handle.reuse();
  }
}

/** A handle that is kept to one call at a time. */
abstract class Exclusive<Handle> {
  private busy = false;

  constructor(
    private readonly what: string,
    protected readonly handle: Handle,
  ) {}

  protected idle(): Handle {
    if (this.busy) throw new HearthError('INTERNAL', `a ${this.what} was used while it was computing`);
    return this.handle;
  }

  protected async alone<T>(work: (handle: Handle) => Promise<T>): Promise<T> {
    const handle = this.idle();
    this.busy = true;
    try {
      return await work(handle);
    } finally {
      this.busy = false;
    }
  }
}

/** A clip on its way through the audio encoder while it is being spoken. */
export class NativeLiveAudio extends Exclusive<LiveAudioHandle> {
  private closed = false;

  constructor(handle: LiveAudioHandle) {
    super('clip', handle);
  }

  /** The next samples, mono at 16 kHz, any number, 30 s in all. Resolves to the first tokens of the clip, which stay. */
  async feed(samples: Float32Array): Promise<SoftTokens> {
    return await this.open((handle) => handle.feed(samples));
  }

  /** What `encodeAudio` makes of all samples so far, and will find made. More may follow. */
  async clip(): Promise<SoftTokens> {
    return await this.open((handle) => handle.clip());
  }

  /** Gives the memory back. */
  close(): void {
    this.closed = true;
    this.idle().close();
  }

  private async open(work: (handle: LiveAudioHandle) => Promise<SoftTokens>): Promise<SoftTokens> {
    if (this.closed) throw new HearthError('INTERNAL', 'a clip was used after it was closed');
    return await this.alone(work);
  }
}

/** One timeline of tokens. */
export class NativeSession extends Exclusive<SessionHandle> {
  constructor(handle: SessionHandle) {
    super('session', handle);
  }

  setSlice(slice: SliceRequest): void {
    this.idle().setSlice(checkSlice(slice));
  }

  get sliceName(): string {
    return this.handle.sliceName();
  }

  /** Replies must fit this JSON Schema from now on; null ends it. */
  setGrammar(jsonSchema: string | null): void {
    this.idle().setGrammar(jsonSchema);
  }

  append(ids: Int32Array, soft: readonly SoftTokens[] = []): void {
    this.idle().append(ids, soft);
  }

  /** Computes up to `maxTokens` pending tokens off the main thread; resolves to how many are left. */
  async advance(maxTokens: number): Promise<number> {
    checkCount('maxTokens', maxTokens, 1, 2 ** 31 - 1);
    return await this.alone((handle) => handle.advance(maxTokens));
  }

  /**
   * Makes a prompt the whole timeline and begins a reply: what of it is computed already, here or in another session, is
   * used; the rest is pending, its last token always. Resolves to the number of positions that need no computing.
   */
  async resume(
    ids: Int32Array,
    soft: readonly SoftTokens[] = [],
    { slice, checkpoints = [] }: ResumeOptions = {},
  ): Promise<number> {
    for (const at of checkpoints) checkCount('a checkpoint', at, 0, 2 ** 31 - 1);
    const checked = slice === undefined ? null : checkSlice(slice);
    return await this.alone((handle) => handle.resume(ids, soft, checked, Int32Array.from(checkpoints)));
  }

  /** Positions of the timeline since `resume` that needed no computing. */
  get reused(): number {
    return this.idle().reused();
  }

  /** Keeps what is computed for prompts that go on from it: at the end of a reply. */
  async checkpoint(): Promise<void> {
    await this.alone((handle) => handle.checkpoint());
  }

  /** Memory of its keys and values. */
  get kvBytes(): number {
    return this.idle().kvBytes();
  }

  sample(sampling: Sampling): Sampled {
    checkSampling(sampling);
    return this.idle().sample(sampling);
  }

  /**
   * What `advance` and `sample` in turn would give, off the main thread: 1 to `maxTokens` tokens. Without pending tokens
   * it samples one; otherwise it computes them, and the tokens it drafts, first.
   */
  async decode(sampling: Sampling, maxTokens: number, draft: DraftOptions = {}): Promise<Decoded> {
    checkSampling(sampling);
    checkCount('maxTokens', maxTokens, 1, 2 ** 31 - 1);
    checkCount('draft.maxTokens', draft.maxTokens ?? 0, 0, 8);
    checkRange('draft.rowCost', draft.rowCost, 0, 1000);
    return await this.alone((handle) => handle.decode(sampling, maxTokens, draft));
  }

  flushText(): string {
    return this.idle().flushText();
  }

  logits(): Float32Array {
    return this.idle().logits();
  }

  get position(): number {
    return this.idle().position();
  }

  rewind(position: number): void {
    this.idle().rewind(checkCount('position', position, 0, 2 ** 31 - 1));
  }

  snapshot(): Uint8Array {
    return this.idle().snapshot();
  }

  restore(snapshot: Uint8Array): void {
    this.idle().restore(snapshot);
  }
}
