/** A request's way to the engine, whichever door it came through: one job in the one queue. */
import type { Engine, Listening } from '../inference/engine';
import type { GenerateRequest, GenerateResult } from '../inference/types';
import type { JobQueue } from '../streams/job-queue';

export interface RequestJobsOptions {
  readonly engine: Engine;
  readonly queue: JobQueue;
  /** Of requests that name none. */
  readonly defaultPriority: number;
  readonly defaultDeadlineMs: number;
}

export interface JobTerms {
  readonly priority?: number | undefined;
  /** Milliseconds from now: the job does not start later, and should be done by then. */
  readonly deadlineMs?: number | undefined;
  /** Cancels it, whether it waits or runs. */
  readonly signal?: AbortSignal | undefined;
  /** The stream it is an answer for: who begins to speak there interrupts it. */
  readonly answers?: string | undefined;
  readonly onText?: ((piece: string) => void) | undefined;
}

export class RequestJobs {
  readonly #options: RequestJobsOptions;

  constructor(options: RequestJobsOptions) {
    this.#options = options;
  }

  /** Rejects as `JobQueue.submit` and `Engine.generate` do. */
  async run(request: GenerateRequest, terms: JobTerms = {}): Promise<GenerateResult> {
    const { engine, queue, defaultPriority, defaultDeadlineMs } = this.#options;
    const { priority = defaultPriority, deadlineMs = defaultDeadlineMs, signal, answers, onText } = terms;
    const deadlineAt = Date.now() + deadlineMs;
    return await queue.submit({
      priority,
      deadlineAt,
      ...(signal !== undefined && { signal }),
      ...(answers !== undefined && { stream: answers, role: 'answer' as const }),
      run: async (jobSignal) =>
        await engine.generate(request, {
          priority,
          signal: jobSignal,
          deadlineAt,
          ...(onText !== undefined && { onText }),
        }),
    });
  }

  /** For a clip that begins to be spoken, and that a job will come with. */
  listen(): Listening {
    const { engine, defaultPriority } = this.#options;
    return engine.listen({ priority: defaultPriority });
  }
}
