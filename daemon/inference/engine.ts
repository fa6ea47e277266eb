import type { Observable } from 'rxjs';
import type { EngineState, GenerateOptions, GenerateRequest, GenerateResult } from './types';

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
  /** Resolves once the runner has exited; the job in hand is cancelled. */
  close(): Promise<void>;
}
