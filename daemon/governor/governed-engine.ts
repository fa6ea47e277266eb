/** The engine with the governor before it: every job gets what the governor chooses, and its result says so. */
import type { Observable } from 'rxjs';
import type { Engine, Listening, ListenOptions, Watching, WatchOptions } from '../inference/engine';
import type { EngineState, GenerateOptions, GenerateRequest, GenerateResult } from '../inference/types';
import type { Chosen, Governor } from './governor';

/** From this level on, if it was lower when it began, a running job goes on with its tail. */
const hurryLevel = 2;

export class GovernedEngine implements Engine {
  readonly state$: Observable<EngineState>;
  readonly #engine: Engine;
  readonly #governor: Governor;

  constructor(engine: Engine, governor: Governor) {
    this.#engine = engine;
    this.#governor = governor;
    this.state$ = engine.state$;
  }

  async generate(request: GenerateRequest, options: GenerateOptions = {}): Promise<GenerateResult> {
    const chosen = await this.#governor.choose(request, options.deadlineAt);
    const pinned = this.#asPinned(request);
    if (chosen === undefined) return await this.#engine.generate(pinned, options);
    const hurry = new AbortController();
    const watching = this.#governor.change$.subscribe(({ level }) => {
      if (level >= hurryLevel && level > chosen.level) hurry.abort();
    });
    try {
      const result = await this.#engine.generate(asChosen(pinned, chosen), {
        ...options,
        expectedTokens: options.expectedTokens ?? chosen.expectedTokens,
        hurry: options.hurry === undefined ? hurry.signal : AbortSignal.any([options.hurry, hurry.signal]),
      });
      this.#governor.learn(request, result);
      const { reasons, why } = chosen;
      return { ...result, choice: { reasons, why } };
    } finally {
      watching.unsubscribe();
    }
  }

  listen(options: ListenOptions = {}): Listening {
    // Nothing is known of the jobs to come but that they will be chosen for.
    const { slice } = this.#governor.status();
    return this.#engine.listen({ ...(this.#decides && { slice }), ...options });
  }

  watch(options: WatchOptions): Watching {
    const { slice, imageSize } = this.#governor.status();
    return this.#engine.watch({
      ...(this.#decides && { slice, ...(imageSize !== null && { imageSize }) }),
      ...options,
    });
  }

  #asPinned(request: GenerateRequest): GenerateRequest {
    return request.slice === undefined ? { ...this.#governor.pinned, ...request } : request;
  }

  get #decides(): boolean {
    return this.#governor.status().enabled || this.#governor.pinned !== null;
  }

  async close(): Promise<void> {
    await this.#engine.close();
  }
}

function asChosen(request: GenerateRequest, { slice, tailSlice, imageSize }: Chosen): GenerateRequest {
  return {
    ...request,
    ...(slice !== undefined && { slice }),
    ...(tailSlice !== undefined && { tailSlice }),
    ...(imageSize !== undefined && { imageSize }),
  };
}
