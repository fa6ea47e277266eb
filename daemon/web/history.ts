/** How the daemon was over the last hour: a sample every few seconds, the oldest make room. */
import type { Health } from '../health/health';

export interface Sample {
  /** Unix time in seconds. */
  readonly ts: number;
  /** Jobs that wait, jobs that run. */
  readonly waiting: number;
  readonly running: number;
  /** Mean from capture to result, of the results since the sample before; null where there were none. */
  readonly latency_ms: number | null;
  readonly temperature_c: number | null;
  /** What a job gets that names nothing. */
  readonly slice: string;
  /** Of the last job. */
  readonly tokens_per_second: number;
}

export class History {
  readonly #samples: Sample[] = [];
  #latencies = { sum: 0, count: 0 };

  constructor(private readonly maxSamples: number) {}

  /** A result came so long after what it is about. */
  noteLatency(latencyMs: number): void {
    this.#latencies.sum += latencyMs;
    this.#latencies.count++;
  }

  sample({ ts, queue, soc_temperature_c, slice, tokens_per_second }: Health): Sample {
    const { sum, count } = this.#latencies;
    this.#latencies = { sum: 0, count: 0 };
    const sample: Sample = {
      ts: Math.round(ts),
      waiting: queue.depth,
      running: queue.running,
      latency_ms: count === 0 ? null : Math.round(sum / count),
      temperature_c: soc_temperature_c,
      slice,
      tokens_per_second,
    };
    this.#samples.push(sample);
    if (this.#samples.length > this.maxSamples) this.#samples.shift();
    return sample;
  }

  all(): readonly Sample[] {
    return this.#samples;
  }
}
