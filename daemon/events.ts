import type { GenerateResult, TokenCounts } from './inference/types';

/** The one JSON shape of everything hearth publishes about a stream; see the topic table in the README. */
export const eventKinds = ['caption', 'transcript', 'translation', 'call', 'answer', 'skipped', 'error'] as const;
export type EventKind = (typeof eventKinds)[number];

/** Why an input was not used. Every frame and every segment ends as a result, an error or one of these. */
export const skipReasons = [
  'superseded', // a newer frame of the same stream took its place while the engine was busy
  'rate-limited', // the stream's minimum interval had not passed
  'duplicate', // hardly differs from the last frame that was used
  'no-motion', // differs from it by light and noise only, or where the camera's `motion.ignore` says that nothing counts
  'queue-full', // the job queue was full of jobs of the same or a higher priority
  'deadline', // its result would have come too late to matter
  'barge-in', // someone began to speak, and what was being made of it for them was cancelled
  'too-large', // over the configured size
  'too-long', // over the longest clip the model takes
  'too-short', // a segment with too little speech to answer
  'bad-input', // not a picture or a sound, or a broken one
  'unsupported', // the model has no encoder for this kind of input
  'no-consumer', // no plugin takes this stream, or none has a use for what it was handed
  'disabled', // the stream is switched off
  'scheduled-off', // it came at a time that is not in the stream's schedule
  'retained', // a retained replay, not something that just happened
  'shutdown', // the daemon was stopping
] as const;
export type SkipReason = (typeof skipReasons)[number];

/** What an event or a response says about how its job ran. */
export function ranAs({
  slice,
  tail,
  imageSize,
  choice,
}: Pick<GenerateResult, 'slice' | 'tail' | 'imageSize' | 'choice'>): Pick<
  StreamEvent,
  'tail' | 'image_size' | 'governor'
> & { readonly slice: string } {
  return {
    slice,
    ...(tail !== undefined && { tail: { slice: tail.slice, after_tokens: tail.afterTokens } }),
    ...(imageSize !== undefined && { image_size: imageSize }),
    ...(choice !== undefined && { governor: choice }),
  };
}

/** What became of a call that the model proposed. */
export interface CallOutcome {
  /** Of the call; what confirms or rejects it, and what its audit messages have. */
  readonly id: string;
  readonly status: 'executed' | 'dry-run' | 'pending' | 'refused' | 'rejected' | 'expired';
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly reason?: string;
  readonly result?: unknown;
  /** Unix time in seconds until which a pending call can be confirmed. */
  readonly expires_ts?: number;
}

export interface StreamEvent {
  readonly v: 1;
  /** ULID, or the requester's own id. Results are idempotent by id. */
  readonly id: string;
  readonly kind: EventKind;
  readonly node: string;
  readonly stream: string;
  /** Unix time in seconds when the event was made. */
  readonly ts: number;
  /** Unix time in seconds when the frame or the end of the segment arrived. */
  readonly captured_ts: number;
  readonly latency_ms: number;
  /** Milliseconds from capture to the first decoded token. */
  readonly first_token_ms?: number;
  readonly text?: string;
  /** At most 250 characters, for consumers with a short state. */
  readonly summary?: string;
  readonly lang?: string;
  /** Where it is about a clip rather than a picture or a sound. */
  readonly clip?: { readonly frames: number; readonly sounds: number; readonly duration_ms: number };
  readonly source?: { readonly topic: string; readonly sha256?: string };
  readonly model?: string;
  readonly slice?: string;
  /** Where the reply went on with a smaller slice: which one, and after how many tokens. */
  readonly tail?: { readonly slice: string; readonly after_tokens: number };
  /** Side of the square the pictures were resized to. */
  readonly image_size?: number;
  /** Why slice and picture size are what they are. */
  readonly governor?: { readonly reasons: readonly string[]; readonly why: string };
  readonly tokens?: TokenCounts;
  readonly truncated?: boolean;
  readonly plugin?: string;
  /** kind `call`: the function and its arguments; null for the agreed "no call" and for what was not let through. */
  readonly call?: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> } | null;
  /** kind `call`: what became of it. */
  readonly outcome?: CallOutcome;
  /** kind `call`: true where it is to have no effect. */
  readonly dry_run?: boolean;
  /** kind `skipped`. */
  readonly reason?: SkipReason;
  /** kind `skipped`: how many inputs this event stands for. */
  readonly count?: number;
  /** kind `error`, and `skipped` where an error is the cause. */
  readonly error?: { readonly code: string; readonly message: string; readonly retryable: boolean };
}
