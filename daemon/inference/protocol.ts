/** What the daemon and its runner process say to each other over IPC. Buffers travel as such ('advanced' serialisation). */
import type { ErrorCode } from '../errors';
import type { EngineOptions } from './native';
import type {
  GenerateRequest,
  GenerateResult,
  ModelInfo,
  ReuseStats,
  SliceRequest,
  Speculation,
  VideoFrame,
  VideoSound,
} from './types';

export interface RunnerOptions extends Omit<EngineOptions, 'onProgress'> {
  /** The slice of jobs that name none. */
  readonly defaultSlice?: string | undefined;
  /** The picture size of jobs that name none; the model's own when absent. */
  readonly defaultImageSize?: 256 | 512 | 768 | undefined;
  /** Whether jobs that do not say so are speculated on; `auto` when absent. */
  readonly defaultSpeculation?: Speculation | undefined;
  /** Jobs that run at the same time, each on a session of its own; others wait. */
  readonly concurrency?: number | undefined;
}

/** What the runner holds and has saved, for the health report. */
export interface RunnerMemory {
  readonly rssBytes: number;
  /** Keys and values of the sessions. */
  readonly kvBytes: number;
  /** Undefined before a model is loaded. */
  readonly reuse?: ReuseStats | undefined;
}

export type ToRunner =
  | { readonly type: 'load'; readonly options: RunnerOptions }
  | {
      readonly type: 'generate';
      readonly id: number;
      readonly request: GenerateRequest;
      readonly priority: number;
      readonly deadlineAt?: number | undefined;
      readonly expectedTokens?: number | undefined;
    }
  /** The rest of the reply is to run on the request's `tailSlice`. */
  | { readonly type: 'hurry'; readonly id: number }
  /** Of a job, a listener or a watcher. */
  | { readonly type: 'cancel'; readonly id: number }
  /** A clip is being spoken; `listener.ts`. Ids as those of jobs. Nothing is answered. */
  | {
      readonly type: 'listen';
      readonly id: number;
      readonly priority: number;
      readonly slice?: SliceRequest | undefined;
    }
  | { readonly type: 'heard'; readonly id: number; readonly samples: Float32Array }
  | { readonly type: 'paused'; readonly id: number }
  /** A video is being taken; `watcher.ts`. Ended with `cancel`; nothing is answered. */
  | {
      readonly type: 'watch';
      readonly id: number;
      readonly priority: number;
      readonly maxTokens: number;
      readonly slice?: SliceRequest | undefined;
      readonly imageSize?: number | undefined;
    }
  | { readonly type: 'frame'; readonly id: number; readonly frame: VideoFrame }
  | { readonly type: 'sound'; readonly id: number; readonly sound: VideoSound }
  /** It is whole: jobs that come after this wait until it is prepared. */
  | { readonly type: 'spoken'; readonly id: number };

export interface RemoteError {
  readonly code: ErrorCode;
  readonly message: string;
}

export type FromRunner =
  | { readonly type: 'ready'; readonly info: ModelInfo }
  /** While a model is loaded: how much of the weights is in memory, from 0 to 1. */
  | { readonly type: 'loading'; readonly fraction: number }
  | { readonly type: 'load-failed'; readonly error: RemoteError }
  /** Every second, from the runner's main thread: proof that it is alive, and what it does. `steps` only ever grows. */
  | ({ readonly type: 'alive'; readonly busy: boolean; readonly steps: number } & RunnerMemory)
  | { readonly type: 'text'; readonly id: number; readonly piece: string }
  | { readonly type: 'done'; readonly id: number; readonly result: GenerateResult }
  | { readonly type: 'failed'; readonly id: number; readonly error: RemoteError };
