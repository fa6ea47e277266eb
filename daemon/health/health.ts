/** The facts on the `health` topic: gathered every 30 s, and on request. */
import { freemem, loadavg, totalmem } from 'node:os';
import type { Board } from '../governor/board';
import type { GovernorStatus } from '../governor/governor';
import type { Throttling } from '../governor/throttling';
import type { ReuseStats } from '../inference/types';
import type { Log } from '../log';
import { messageOf } from '../log';

export interface Health {
  /** Unix time in seconds. */
  readonly ts: number;
  readonly uptime_s: number;
  /** Load average over 1, 5 and 15 minutes. */
  readonly load: readonly number[];
  readonly memory: {
    readonly total_bytes: number;
    readonly free_bytes: number;
    /** What the daemon and its runner can still have, see `Memory`; null where the kernel does not say. */
    readonly available_bytes: number | null;
    readonly daemon_rss_bytes: number;
    readonly runner_rss_bytes: number;
    /** Of it: keys and values of the sessions. */
    readonly kv_bytes: number;
  };
  readonly soc_temperature_c: number | null;
  readonly throttled: Throttling | null;
  /** Jobs that wait, jobs that run. */
  readonly queue: { readonly depth: number; readonly running: number };
  /** Decoding speed of the last job; 0 before the first. */
  readonly tokens_per_second: number;
  /** What earlier jobs saved later ones; null before a model is loaded. */
  readonly prefix_cache: PrefixCacheHealth | null;
  /** What a job that names nothing and has time runs on now. */
  readonly slice: string;
  readonly image_size: number | null;
  readonly governor: {
    readonly enabled: boolean;
    /** 0 at ease to 3 critical. */
    readonly level: number;
    readonly reasons: readonly string[];
    readonly why: string;
  };
  readonly runner: {
    readonly phase: string;
    /** While the phase is `loading`: how much of the weights is in memory, from 0 to 1. */
    readonly loaded?: number;
    readonly restarts: number;
  };
  readonly mqtt: Readonly<Record<string, number>>;
  /** The other nodes, as this one sees them, and what it has of what they share; null outside of a cluster. */
  readonly cluster: Readonly<Record<string, unknown>> | null;
  readonly streams: Readonly<Record<string, unknown>>;
  /** State by name. */
  readonly plugins: Readonly<Record<string, string>>;
}

/** Since the runner started. */
export interface PrefixCacheHealth {
  readonly bytes: number;
  readonly max_bytes: number;
  readonly entries: number;
  readonly evicted: number;
  /** Prompts, and those that did not need all of their prefill. */
  readonly prompts: number;
  readonly hits: number;
  /** Prompt tokens that needed no prefill. */
  readonly tokens: number;
  /** Pictures and sounds that needed no encoder. */
  readonly media_hits: number;
}

/** The parts of the daemon that know. */
export interface HealthSources {
  queue(): Health['queue'];
  runner(): {
    readonly phase: string;
    readonly fraction?: number | undefined;
    readonly restarts: number;
    readonly rssBytes: number;
    readonly kvBytes: number;
    readonly reuse?: ReuseStats | undefined;
    readonly tokensPerSecond: number;
  };
  board(): Promise<Board>;
  governor(): GovernorStatus;
  mqtt(): Health['mqtt'];
  cluster(): Health['cluster'];
  streams(): Health['streams'];
  plugins(): Health['plugins'];
}

function prefixCacheHealth(reuse: ReuseStats): PrefixCacheHealth {
  const { bytes, maxBytes, entries, evicted, resumes, hits, positions, mediaHits } = reuse;
  return {
    bytes,
    max_bytes: maxBytes,
    entries,
    evicted,
    prompts: resumes,
    hits,
    tokens: positions,
    media_hits: mediaHits,
  };
}

export interface HealthReporterOptions {
  readonly sources: HealthSources;
  readonly publish: (health: Health) => void;
  readonly log: Log;
  readonly intervalMs?: number;
}

export class HealthReporter {
  readonly #options: HealthReporterOptions;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: HealthReporterOptions) {
    this.#options = options;
  }

  /** Publishes now and then every `intervalMs`, 30 s when left out. */
  start(): void {
    void this.#report();
    this.#timer = setInterval(() => void this.#report(), this.#options.intervalMs ?? 30_000);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Once more, before it is due: something that matters has changed. */
  async reportNow(): Promise<void> {
    await this.#report();
  }

  async gather(): Promise<Health> {
    const { sources } = this.#options;
    const { temperatureC, throttled, memory } = await sources.board();
    const { slice, imageSize, enabled, level, reasons, why } = sources.governor();
    const { phase, fraction, restarts, rssBytes, kvBytes, reuse, tokensPerSecond } = sources.runner();
    return {
      ts: Date.now() / 1000,
      uptime_s: Math.round(process.uptime()),
      load: loadavg().map((value) => Math.round(value * 100) / 100),
      memory: {
        total_bytes: totalmem(),
        free_bytes: freemem(),
        available_bytes: Number.isFinite(memory.availableBytes) ? memory.availableBytes : null,
        daemon_rss_bytes: process.memoryUsage.rss(),
        runner_rss_bytes: rssBytes,
        kv_bytes: kvBytes,
      },
      soc_temperature_c: temperatureC,
      throttled,
      queue: sources.queue(),
      tokens_per_second: Math.round(tokensPerSecond * 100) / 100,
      prefix_cache: reuse === undefined ? null : prefixCacheHealth(reuse),
      slice,
      image_size: imageSize,
      governor: { enabled, level, reasons, why },
      runner: { phase, ...(fraction !== undefined && { loaded: Math.round(fraction * 100) / 100 }), restarts },
      mqtt: sources.mqtt(),
      cluster: sources.cluster(),
      streams: sources.streams(),
      plugins: sources.plugins(),
    };
  }

  async #report(): Promise<void> {
    try {
      this.#options.publish(await this.gather());
    } catch (error) {
      this.#options.log.error({ reason: messageOf(error) }, 'health could not be gathered');
    }
  }
}
