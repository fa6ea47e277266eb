/**
 * A change of slice in the middle of a reply: from the token on at which it would miss its deadline, or at which somebody
 * asks for haste, the rest is decoded on a smaller slice of the same KV group. Nothing is computed again.
 */
import type { NativeSession } from './native';
import type { SliceRequest } from './types';

export interface TailSwitchOptions {
  readonly slice: SliceRequest;
  /** Nothing ever changes without one. */
  readonly tailSlice: SliceRequest | undefined;
  /** Unix time in milliseconds. */
  readonly deadlineAt: number | undefined;
  readonly expectedTokens: number | undefined;
  readonly maxTokens: number;
  readonly hurry: AbortSignal | undefined;
  /** Unix time in milliseconds. */
  readonly now?: () => number;
}

export class TailSwitch {
  private readonly started: number;
  private readonly now: () => number;
  private switched: { readonly slice: string; readonly afterTokens: number } | undefined;

  /**
   * To be made after the prefill and before the first token. Throws `SLICE_INVALID` for a tail that would change keys and
   * values that are there.
   */
  constructor(
    private readonly session: Pick<NativeSession, 'setSlice' | 'sliceName'>,
    private readonly options: TailSwitchOptions,
  ) {
    this.now = options.now ?? Date.now;
    this.started = this.now();
    if (options.tailSlice === undefined) return;
    session.setSlice(options.tailSlice);
    session.setSlice(options.slice);
  }

  /** To be called before another token is computed after `tokens` of them; the slice is the right one afterwards. */
  before(tokens: number): void {
    const { tailSlice } = this.options;
    if (tailSlice === undefined || this.switched !== undefined || !this.due(tokens)) return;
    this.session.setSlice(tailSlice);
    this.switched = { slice: this.session.sliceName, afterTokens: tokens };
  }

  /** Undefined while the reply runs on the slice it began with. */
  get tail(): { readonly slice: string; readonly afterTokens: number } | undefined {
    return this.switched;
  }

  private due(tokens: number): boolean {
    const { deadlineAt, hurry } = this.options;
    if (hurry?.aborted === true) return true;
    if (deadlineAt === undefined) return false;
    const now = this.now();
    // The first token came with the prefill: nothing of its time says how long the next will take.
    const msPerToken = tokens > 1 ? (now - this.started) / (tokens - 1) : 0;
    return now + msPerToken * this.remaining(tokens) > deadlineAt;
  }

  /** A reply that has outgrown what was expected is expected to grow by half again. */
  private remaining(tokens: number): number {
    const { expectedTokens, maxTokens } = this.options;
    const expected = Math.max((expectedTokens ?? maxTokens) - tokens, Math.ceil(tokens / 2));
    return Math.min(expected, maxTokens - tokens);
  }
}
