/** The engine with a meter before it: every job that runs, whoever asked for it, is counted and timed. */
import type { Observable } from 'rxjs';
import { HearthError } from '../errors';
import type { Engine, Listening, ListenOptions, Watching, WatchOptions } from '../inference/engine';
import type { EngineState, GenerateOptions, GenerateRequest, GenerateResult } from '../inference/types';
import type { Metrics } from './metrics';

export class MeteredEngine implements Engine {
  readonly state$: Observable<EngineState>;
  readonly #engine: Engine;
  readonly #metrics: Metrics;

  constructor(engine: Engine, metrics: Metrics) {
    this.#engine = engine;
    this.#metrics = metrics;
    this.state$ = engine.state$;
  }

  async generate(request: GenerateRequest, options: GenerateOptions = {}): Promise<GenerateResult> {
    const began = performance.now();
    let firstTextMs: number | undefined;
    try {
      const result = await this.#engine.generate(request, {
        ...options,
        onText: (piece) => {
          firstTextMs ??= performance.now() - began;
          options.onText?.(piece);
        },
      });
      this.#metrics.jobDone(request, result, firstTextMs, performance.now() - began);
      return result;
    } catch (error) {
      this.#metrics.jobFailed(error instanceof HearthError ? error.code : 'INTERNAL');
      throw error;
    }
  }

  listen(options?: ListenOptions): Listening {
    return this.#engine.listen(options);
  }

  watch(options: WatchOptions): Watching {
    return this.#engine.watch(options);
  }

  async close(): Promise<void> {
    await this.#engine.close();
  }
}
