/** What the bench asks of an engine. Ids go in, times come out; both engines are driven by the same ids. */
import type { SliceRequest } from '../../../daemon/inference/types';

/** llama.cpp's knobs that matter on a CPU. The physical batch is as large as the logical one. */
export interface PeerSettings {
  readonly flashAttention: boolean;
  readonly batch: number;
  readonly mmap: boolean;
}

export interface LoadOptions {
  readonly modelPath: string;
  readonly threads: number;
  /** Positions a timeline has room for. */
  readonly contextLength: number;
  /** hearth's kernels; empty: the best there are. */
  readonly isa: string;
  /** Set for the peer. */
  readonly peer: { readonly directory: string; readonly settings: PeerSettings } | undefined;
}

export interface Loaded {
  /** From the call to a timeline that can be used; the process and its modules are there already. */
  readonly ms: number;
  /** What tells this engine from others: version, kernels, settings in force. */
  readonly facts: Readonly<Record<string, string>>;
}

export interface FirstToken {
  readonly ms: number;
  readonly token: number;
}

export interface Decoded {
  /** Of every step: one token computed, the most likely next one taken. */
  readonly ms: readonly number[];
  readonly tokens: readonly number[];
}

export interface SwitchedDecode extends Decoded {
  /** Of every change of the slice, which is not part of `ms`. */
  readonly switchMs: readonly number[];
}

export interface Memory {
  readonly peakRssBytes: number;
  /** Now: pages of its own, and pages of mapped files. */
  readonly anonymousBytes: number;
  readonly fileBytes: number;
}

/** One model, one timeline. Ids given to `decode` are fed whatever the engine would have said. */
export interface BenchEngine {
  readonly loaded: Loaded;

  /** An empty timeline, all of `ids` computed, the most likely next token taken. */
  firstToken(ids: readonly number[]): Promise<FirstToken>;

  /** Computes `ids` one at a time after `context`, which is brought about first and not timed. */
  decode(context: readonly number[], ids: readonly number[], slice: SliceRequest): Promise<Decoded>;

  /** Like `decode`, with the next of the `slices` in turn for every token. They share their keys and values. */
  decodeSwitching(
    context: readonly number[],
    ids: readonly number[],
    slices: readonly SliceRequest[],
  ): Promise<SwitchedDecode>;

  /** Computes a prefix and keeps it for `firstTokenAfterPrefix`. */
  keepPrefix(prefix: readonly number[]): Promise<void>;

  /** Like `firstToken` for the kept prefix and `suffix`, with the prefix taken from where it was kept. */
  firstTokenAfterPrefix(suffix: readonly number[]): Promise<FirstToken>;
}

export type EngineName = 'hearth' | 'peer';

/** From the parent to the child and back; one answer a request, in order. */
export type Request =
  | { readonly method: 'load'; readonly args: readonly [EngineName, LoadOptions] }
  | { readonly method: 'memory'; readonly args: readonly [] }
  | { [M in EngineMethod]: { readonly method: M; readonly args: Parameters<BenchEngine[M]> } }[EngineMethod];

export type EngineMethod = Exclude<keyof BenchEngine, 'loaded'>;

export type Response = { readonly value: unknown } | { readonly error: string };
