/** hearth, through its native addon. */
import { performance } from 'node:perf_hooks';
import { HearthError } from '../../../daemon/errors';
import { NativeEngine, type NativeSession } from '../../../daemon/inference/native';
import type { SliceRequest } from '../../../daemon/inference/types';
import { version } from '../../../daemon/version';
import type { BenchEngine, Decoded, FirstToken, Loaded, LoadOptions, SwitchedDecode } from './engine';

/** Greedy, as the peer's temperature of 0. */
const greedy = { temperature: 0 };

export class HearthEngine implements BenchEngine {
  /** The ids of the timeline, as far as they are computed. */
  private timeline: readonly number[] = [];
  private slice: SliceRequest = 'full';
  /** What is kept, in the engine's prefix cache. */
  private kept: readonly number[] = [];

  private constructor(
    readonly loaded: Loaded,
    private readonly session: NativeSession,
  ) {}

  static async open({ modelPath, threads, contextLength, isa }: LoadOptions): Promise<HearthEngine> {
    const started = performance.now();
    const engine = await NativeEngine.open({ modelPath, threads, contextLength, isa });
    const session = engine.newSession();
    const ms = performance.now() - started;
    const { info } = engine;
    const facts = { version, isa: info.isa, threads: String(info.threads), 'keys and values': info.kvType };
    return new HearthEngine({ ms, facts }, session);
  }

  async firstToken(ids: readonly number[]): Promise<FirstToken> {
    this.empty('full');
    return await this.appendAndSample(ids);
  }

  async decode(context: readonly number[], ids: readonly number[], slice: SliceRequest): Promise<Decoded> {
    await this.bringAbout(context, slice);
    const ms: number[] = [];
    const tokens: number[] = [];
    for (const id of ids) {
      const step = await this.appendAndSample([id]);
      ms.push(step.ms);
      tokens.push(step.token);
    }
    return { ms, tokens };
  }

  async decodeSwitching(
    context: readonly number[],
    ids: readonly number[],
    slices: readonly SliceRequest[],
  ): Promise<SwitchedDecode> {
    await this.bringAbout(context, slices[0] ?? 'full');
    const ms: number[] = [];
    const tokens: number[] = [];
    const switchMs: number[] = [];
    for (const [i, id] of ids.entries()) {
      this.slice = slices[i % slices.length] ?? 'full';
      const started = performance.now();
      this.session.setSlice(this.slice);
      switchMs.push(performance.now() - started);
      const step = await this.appendAndSample([id]);
      ms.push(step.ms);
      tokens.push(step.token);
    }
    const expected = context.length + ids.length;
    if (this.session.position !== expected)
      throw new Error(
        `a switched slice moved the timeline: expected position ${expected}, found ${this.session.position}`,
      );
    return { ms, tokens, switchMs };
  }

  async keepPrefix(prefix: readonly number[]): Promise<void> {
    await this.bringAbout(prefix, 'full');
    await this.session.checkpoint();
    this.kept = prefix;
    this.empty('full');
  }

  async firstTokenAfterPrefix(suffix: readonly number[]): Promise<FirstToken> {
    this.empty('full');
    const ids = Int32Array.from([...this.kept, ...suffix]);
    const started = performance.now();
    const reused = await this.session.resume(ids);
    while ((await this.session.advance(ids.length)) > 0);
    const { token } = this.session.sample(greedy);
    const ms = performance.now() - started;
    if (reused < this.kept.length) throw new Error(`of ${this.kept.length} kept positions, ${reused} were found`);
    return { ms, token };
  }

  private empty(slice: SliceRequest): void {
    this.session.rewind(0);
    this.session.setSlice(slice);
    this.slice = slice;
    this.timeline = [];
  }

  /** Leaves `context` in the timeline, computed under `slice`; what is there of it already stays if it can. */
  private async bringAbout(context: readonly number[], slice: SliceRequest): Promise<void> {
    const there =
      JSON.stringify(slice) === JSON.stringify(this.slice) && context.every((id, i) => this.timeline[i] === id);
    if (there && this.rewound(context.length)) {
      this.timeline = context;
      return;
    }
    this.empty(slice);
    if (context.length > 0) await this.compute(context);
  }

  /** False where local layers have forgotten what they would have to see. */
  private rewound(position: number): boolean {
    try {
      this.session.rewind(position);
      return true;
    } catch (error) {
      if (error instanceof HearthError && error.code === 'OPTION_INVALID') return false;
      throw error;
    }
  }

  private async compute(ids: readonly number[]): Promise<void> {
    this.session.append(Int32Array.from(ids));
    while ((await this.session.advance(ids.length)) > 0);
    this.timeline = [...this.timeline, ...ids];
  }

  private async appendAndSample(ids: readonly number[]): Promise<FirstToken> {
    const numbers = Int32Array.from(ids);
    const started = performance.now();
    this.session.append(numbers);
    while ((await this.session.advance(numbers.length)) > 0);
    const { token } = this.session.sample(greedy);
    const ms = performance.now() - started;
    // The token that was taken is not the one that comes next.
    this.session.rewind(this.session.position);
    this.timeline = [...this.timeline, ...ids];
    return { ms, token };
  }
}
