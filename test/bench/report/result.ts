/** What a run of the bench found, as it is written to JSON and as the tables are made of it. */
import type { Summary } from './statistics';

export type Unit = 'tokens/s' | 'ms' | 'bytes' | 'GB/s';

export interface Side {
  readonly name: string;
  readonly samples: readonly number[];
  readonly summary: Summary;
}

/** One thing measured on one or two sides. */
export interface Figure {
  /** Unique for a model; targets refer to it. */
  readonly id: string;
  readonly label: string;
  readonly unit: Unit;
  readonly sides: readonly Side[];
  /** How many times better the first side is than the second; undefined with one side. */
  readonly ratio: number | undefined;
}

export interface DecodeBytes {
  /**
   * Bytes of weights a token reads when every matrix is read whole, with the share of neurons the gates leave, and with
   * half of the head as well.
   */
  readonly dense: number;
  readonly sparse: number;
  readonly screened: number;
  /** Which of the three hearth reads. */
  readonly hearth: 'dense' | 'sparse' | 'screened';
  /** Of those bytes at the decode rate with an empty context in the read bandwidth around the same run: the median. */
  readonly share: number | undefined;
}

/** What engines say of themselves: version, kernels, settings in force. */
export type Facts = Readonly<Record<string, string>>;

export interface ModelResult {
  readonly model: string;
  readonly hearth: Facts;
  readonly peer: Facts | undefined;
  readonly file: { readonly path: string; readonly bytes: number };
  readonly figures: readonly Figure[];
  readonly decodeBytes: DecodeBytes;
  /** Of the tokens both engines chose given the same ids: how many are the same. */
  readonly sameChoice: { readonly equal: number; readonly of: number } | undefined;
  /** The peer's settings that were tried for this model, the one in force first. */
  readonly peerTrials: readonly PeerTrial[];
  /** Of figures that could not be measured. */
  readonly failures: readonly string[];
}

export interface PeerTrial {
  readonly flashAttention: boolean;
  readonly batch: number;
  readonly mmap: boolean;
  /** Tokens a second. */
  readonly prefill: number;
  readonly decode: number;
  readonly loadMs: number;
  readonly peakRssBytes: number;
}

export interface ParityFigure {
  readonly what: string;
  /** Against what, in which arithmetic. */
  readonly against: string;
  readonly positions: number;
  readonly maxLogitDifference: number;
  readonly meanKl: number;
  readonly top1Equal: number;
}

export interface AnswersFigure {
  readonly what: string;
  readonly against: string;
  readonly equal: number;
  readonly of: number;
}

export interface Parity {
  /** hearth's kernels. */
  readonly isa: string;
  readonly logits: readonly ParityFigure[];
  readonly answers: readonly AnswersFigure[];
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly kernel: string;
  readonly node: string;
  /** One-minute load before the bench began: other work makes its figures worse. */
  readonly load: number;
}

export interface TargetResult {
  readonly what: string;
  readonly measured: number | undefined;
  /** A number, or words where the target is none. */
  readonly must: number | string;
  readonly aim: number | string;
  readonly unit: string;
  readonly verdict: Verdict;
}

export type Verdict = 'aim met' | 'must met' | 'missed' | 'not measured';

export interface TextResult {
  readonly bench: 'text';
  readonly date: string;
  readonly commit: string;
  readonly machine: Machine;
  readonly options: Readonly<Record<string, unknown>>;
  readonly models: readonly ModelResult[];
  readonly parity: Parity | undefined;
  readonly targets: readonly TargetResult[];
  /** What speaks against taking the figures at their word. */
  readonly warnings: readonly string[];
}

/** How close rows are to those in float32. */
export interface Cosine {
  readonly least: number;
  readonly mean: number;
  readonly rows: number;
}

/** One size of picture or length of sound. */
export interface EncoderRow {
  readonly figure: Figure;
  readonly cosine: Cosine | undefined;
  /** Sound: the time it takes by the time it lasts. */
  readonly realTimeFactor: number | undefined;
  /** Why there is no second side. */
  readonly peerMissing: string | undefined;
}

export interface EncodersResult {
  readonly bench: 'encoders';
  readonly date: string;
  readonly commit: string;
  readonly machine: Machine;
  readonly options: Readonly<Record<string, unknown>>;
  readonly hearth: Facts;
  readonly peer: Facts | undefined;
  /** Of the encoders. */
  readonly file: { readonly path: string; readonly bytes: number };
  readonly rows: readonly EncoderRow[];
  /** What the largest picture takes above the memory of the loaded model. */
  readonly scratchBytes: number | undefined;
  readonly targets: readonly TargetResult[];
  readonly warnings: readonly string[];
}
