/**
 * The elastic governor: looks at the board every few seconds, decides for each job what it runs on, learns from what it
 * took, and tells what it chose and why. What it decides is in `policy.ts`; here is what has to be remembered.
 */
import { type Observable, Subject } from 'rxjs';
import type { GenerateRequest, GenerateResult, ModelInfo, SliceInfo } from '../inference/types';
import type { Log } from '../log';
import { messageOf } from '../log';
import { type Board, readBoard } from './board';
import type { BoardRoots } from './files';
import { sizeOf } from './job-facts';
import { type Bounds, type Ladder, ladderOf } from './ladder';
import { type Constrained, type Decision, decide } from './policy';
import { assess, noPressure, type Pressure, type Readings } from './pressure';
import { Reuse } from './reuse';
import { Timings } from './timings';

export interface GovernorSettings {
  readonly enabled: boolean;
  readonly bounds: Bounds;
  /** Null: below the board's own limit, or 70 and 80 °C where it tells none. */
  readonly warmC: number | null;
  readonly hotC: number | null;
  /** Null: a sixteenth of the memory. */
  readonly memoryReserveBytes: number | null;
  readonly holdMs: number;
}

export interface GovernorOptions {
  readonly settings: GovernorSettings;
  readonly roots: BoardRoots;
  readonly queue: () => { readonly waiting: number; readonly oldestWaitMs: number; readonly running: boolean };
  readonly log: Log;
  readonly intervalMs?: number;
  readonly now?: () => number;
}

/** What every job runs on that names no slice. */
export interface Pin {
  readonly slice: string;
  /** What a reply goes on with that would miss its deadline otherwise. */
  readonly tailSlice?: string;
}

/** What a job that names nothing and has time would get now. */
export interface GovernorStatus {
  readonly enabled: boolean;
  /** 0 at ease to 3 critical. */
  readonly level: number;
  readonly slice: string;
  /** Null without a vision encoder. */
  readonly imageSize: number | null;
  readonly reasons: readonly string[];
  readonly why: string;
}

/** A decision with what it goes by, for `learn`. */
export interface Chosen extends Decision {
  readonly expectedTokens: number;
  /** Of the board when the job began. */
  readonly level: number;
}

const defaultMaxTokens = 256;
const freshMs = 1000;
/** Below the temperature from which on the kernel slows the board down. */
const warmBelowTripC = 12;
const hotBelowTripC = 4;
const defaultWarmC = 70;
const defaultHotC = 80;
const defaultReserveShare = 1 / 16;

export class Governor {
  readonly #options: GovernorOptions;
  readonly #now: () => number;
  readonly #change = new Subject<GovernorStatus>();
  #timings = new Timings();
  #reuse = new Reuse();
  #roots: BoardRoots;
  #ladder: Ladder | undefined;
  #model: ModelInfo | undefined;
  #pressure: Pressure = noPressure;
  #constrained: Constrained | null = null;
  /** Highest shares seen since the start: what the owner set is no throttling. */
  #highestLimit = 0;
  #highestUnderLoad = 0;
  #sampledAt = Number.NEGATIVE_INFINITY;
  #sampling: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #told: string | undefined;
  #pin: Pin | null;

  constructor(options: GovernorOptions) {
    this.#options = options;
    const { slice } = options.settings.bounds;
    this.#pin = slice === null ? null : { slice };
    this.#roots = options.roots;
    this.#now = options.now ?? Date.now;
  }

  /** When the level, the slice or the picture size of `status` has changed. */
  get change$(): Observable<GovernorStatus> {
    return this.#change.asObservable();
  }

  /**
   * From now on this is the model, and what was learned of another is forgotten. Without a `pin` the one in force stays.
   * Throws `CONFIG_INVALID` when the configuration asks for what this model does not have; all is as before then.
   */
  useModel(model: ModelInfo, pin: Pin | null = this.#pin): void {
    const inForce = this.#orWhole(pin, model);
    this.#ladder = ladderOf(model, this.#boundsWith(inForce));
    this.#model = model;
    this.#pin = inForce;
    this.#timings = new Timings();
    this.#reuse = new Reuse();
    this.#constrained = null;
    this.#tell();
  }

  /** Null: it chooses again. The slices have to be the model's. */
  pin(pin: Pin | null): void {
    const inForce = this.#model === undefined ? pin : this.#orWhole(pin, this.#model);
    if (this.#model !== undefined) this.#ladder = ladderOf(this.#model, this.#boundsWith(inForce));
    this.#pin = inForce;
    this.#tell();
  }

  /** Where there is no governor to choose, the runner would take the slice of the configuration, which is given up. */
  #orWhole(pin: Pin | null, { loadedSlice }: ModelInfo): Pin | null {
    const { enabled, bounds } = this.#options.settings;
    return pin === null && !enabled && bounds.slice !== null ? { slice: loadedSlice } : pin;
  }

  get pinned(): Pin | null {
    return this.#pin;
  }

  #boundsWith(pin: Pin | null): Bounds {
    return { ...this.#options.settings.bounds, slice: pin?.slice ?? null };
  }

  start(): void {
    if (!this.#options.settings.enabled) return;
    void this.sample();
    this.#timer = setInterval(() => void this.sample(), this.#options.intervalMs ?? 5000);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks at the board now; two calls at a time are one. */
  async sample(): Promise<void> {
    this.#sampling ??= this.#sample().finally(() => {
      this.#sampling = undefined;
    });
    await this.#sampling;
  }

  get level(): number {
    return this.#pressure.level;
  }

  status(): GovernorStatus {
    const { enabled, bounds } = this.#options.settings;
    const fallback = {
      slice: this.#pin?.slice ?? this.#model?.loadedSlice ?? 'full',
      imageSize: bounds.imageSize ?? (this.#model?.imageSize || null),
    };
    if (!enabled || this.#ladder === undefined) {
      const reasons = this.#pin === null ? [] : ['pinned'];
      return { enabled, level: 0, ...fallback, reasons, why: enabled ? 'no model yet' : 'switched off' };
    }
    const images = this.#ladder.imageSizes.length > 0 ? 1 : 0;
    const work = { images, clips: 0, promptTokens: 0, expectedTokens: 0 };
    const { slice, imageSize, reasons, why } = this.#decide(this.#ladder, { request: {}, remainingMs: null, ...work });
    return {
      enabled,
      level: this.#pressure.level,
      slice: slice ?? fallback.slice,
      imageSize: imageSize ?? fallback.imageSize,
      reasons,
      why,
    };
  }

  /** Undefined when it is switched off, or there is no model yet. */
  async choose(request: GenerateRequest, deadlineAt: number | undefined): Promise<Chosen | undefined> {
    if (!this.#options.settings.enabled) return undefined;
    if (this.#now() - this.#sampledAt > freshMs) await this.sample();
    const ladder = this.#ladder;
    if (ladder === undefined) return undefined;
    const { kind, ...size } = sizeOf(request);
    const expectedTokens = this.#timings.expectedTokens(kind, request.maxTokens ?? defaultMaxTokens);
    const remainingMs = deadlineAt === undefined ? null : Math.max(0, Math.round(deadlineAt - this.#now()));
    const cached = this.#reuse.find(request);
    const decision = this.#decide(ladder, { request, remainingMs, ...size, expectedTokens, cached });
    this.#constrained = decision.constrained;
    return { ...decision, expectedTokens, level: this.#pressure.level };
  }

  /** What a job took, whoever chose for it. */
  learn(request: GenerateRequest, result: GenerateResult): void {
    const { kind, images, clips } = sizeOf(request);
    const { timings, tokens, cachedMedia = 0 } = result;
    this.#timings.learnReply(kind, tokens.completion);
    const slice = this.#sliceInfo(result.slice);
    if (slice === undefined) return;
    this.#reuse.note(request, slice.kvGroup, tokens.cached);
    const measured = {
      // What needed no encoder says nothing about its time.
      images: cachedMedia > 0 ? 0 : images,
      clips: cachedMedia > 0 ? 0 : clips,
      encodeMs: timings.encode,
      promptTokens: tokens.prompt - (tokens.cached ?? 0),
      prefillMs: timings.prefill,
      completionTokens: tokens.completion,
      decodeMs: timings.decode,
    };
    this.#timings.learn(slice, result.imageSize ?? 0, measured, this.#now(), result.tail === undefined);
  }

  #sliceInfo(name: string): SliceInfo | undefined {
    return this.#model?.sliceInfos.find((slice) => slice.name === name);
  }

  #decide(ladder: Ladder, job: Parameters<typeof decide>[1]): Decision {
    const state = { pressure: this.#pressure, timings: this.#timings, constrained: this.#constrained };
    return decide({ ...state, ladder, now: this.#now() }, job);
  }

  async #sample(): Promise<void> {
    try {
      const board = await readBoard(this.#roots);
      // A board that does not say once will not say later; starting a program every few seconds to be told so is a waste.
      if (board.throttled === null) this.#roots = { ...this.#roots, firmwareTool: null };
      const now = this.#now();
      this.#sampledAt = now;
      this.#pressure = assess(this.#pressure, this.#readings(board), { now, holdMs: this.#options.settings.holdMs });
      this.#tell();
    } catch (error) {
      this.#options.log.error({ reason: messageOf(error) }, 'the board could not be looked at');
    }
  }

  #readings({ temperatureC, passiveTripC, cooling, throttled, frequency, memory }: Board): Readings {
    const { warmC, hotC, memoryReserveBytes } = this.#options.settings;
    const { waiting, oldestWaitMs, running } = this.#options.queue();
    if (frequency !== null) this.#highestLimit = Math.max(this.#highestLimit, frequency.limit);
    const underLoad = running ? (frequency?.current ?? null) : null;
    if (underLoad !== null) this.#highestUnderLoad = Math.max(this.#highestUnderLoad, underLoad);
    const hot = hotC ?? (passiveTripC === null ? defaultHotC : passiveTripC - hotBelowTripC);
    const warm = warmC ?? (passiveTripC === null ? defaultWarmC : passiveTripC - warmBelowTripC);
    return {
      temperatureC,
      warmC: Math.min(warm, hot),
      hotC: hot,
      throttled: throttled?.now ?? [],
      cooling,
      frequencyLimit: frequency === null ? null : frequency.limit / this.#highestLimit,
      frequency: underLoad === null ? null : underLoad / this.#highestUnderLoad,
      availableBytes: Number.isNaN(memory.availableBytes) ? null : memory.availableBytes,
      reserveBytes:
        memoryReserveBytes ?? (Number.isNaN(memory.totalBytes) ? 0 : memory.totalBytes * defaultReserveShare),
      memoryPressure: memory.pressure,
      waitingJobs: waiting,
      oldestWaitMs,
    };
  }

  /** Says what has changed, once. */
  #tell(): void {
    if (!this.#options.settings.enabled || this.#ladder === undefined) return;
    const status = this.status();
    const { slice, imageSize, level, why } = status;
    const state = `${slice} ${imageSize} ${level}`;
    if (state === this.#told) return;
    const first = this.#told === undefined;
    this.#told = state;
    const pictures = imageSize === null ? '' : `, pictures at ${imageSize} px`;
    this.#options.log.info(
      { slice, imageSize, level },
      `${first ? 'starts with' : 'changes to'} slice ${slice}${pictures}: ${why}`,
    );
    this.#change.next(status);
  }
}
