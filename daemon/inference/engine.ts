import type { Observable } from 'rxjs';
import type {
  EngineState,
  GenerateOptions,
  GenerateRequest,
  GenerateResult,
  SliceRequest,
  VideoFrame,
  VideoSound,
} from './types';

/**
 * A clip on its way to the engine while it is being spoken. Nothing here waits or fails: what went wrong, or was not done
 * in time, is done when a job comes with the clip.
 */
export interface Listening {
  /** The next samples of the clip, mono at 16 kHz. */
  heard(samples: Float32Array): void;
  /** The speaker pauses: the clip may be over, and is prepared as if it were. More may be heard. */
  paused(): void;
  /** The clip is over: a job with exactly these samples finds it prepared. */
  end(): void;
  /** There will be no job with it. */
  cancel(): void;
}

/** A video on its way to the engine while it is being taken. As with `Listening`, nothing here waits or fails. */
export interface Watching {
  seen(frame: VideoFrame): void;
  heard(sound: VideoSound): void;
  /** The video is over, or there will be no job with it: nothing more is prepared. */
  end(): void;
}

export interface WatchOptions {
  /** As of jobs. */
  readonly priority?: number;
  /** Soft tokens the video may take, as in its job. */
  readonly maxTokens: number;
  /** What jobs with the video will probably run on; the engine's own when left out. */
  readonly slice?: SliceRequest;
  /** Side of the square the pictures are resized to. */
  readonly imageSize?: number;
}

export interface ListenOptions {
  /** As of jobs. */
  readonly priority?: number;
  /** The slice that jobs with the clip will probably run on; the engine's own when left out. */
  readonly slice?: SliceRequest;
}

/**
 * The engine as the rest of the daemon sees it. The real one is a proxy for the runner process
 * (`runner-engine.ts`); unit tests put a fake behind the same interface.
 */
export interface Engine {
  /** Replays the current state to a new subscriber. */
  readonly state$: Observable<EngineState>;
  /**
   * Runs one job; jobs share the engine by their priorities, step by step. Rejects with a `HearthError`:
   * `ENGINE_NOT_READY`, `ENGINE_RESTARTED` (the runner ended under the job), `ENGINE_STALLED` (it was ended for making no
   * progress), `ENGINE_CANCELLED`, or the runtime's own code.
   */
  generate(request: GenerateRequest, options?: GenerateOptions): Promise<GenerateResult>;
  /** For a clip that begins to be spoken. It costs a job with it nothing but waiting. */
  listen(options?: ListenOptions): Listening;
  /** For a video that begins to be taken. It costs a job with it nothing but waiting. */
  watch(options: WatchOptions): Watching;
  /** Resolves once the runner has exited; the job in hand is cancelled. */
  close(): Promise<void>;
}
