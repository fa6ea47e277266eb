/** The facts on the `health` topic: gathered every 30 s, and on request. */
import { freemem, loadavg, totalmem } from 'node:os';
import type { Log } from '../log';
import { messageOf } from '../log';
import { socTemperatureC, type Throttling, throttling } from './board';

export interface Health {
  /** Unix time in seconds. */
  readonly ts: number;
  readonly uptime_s: number;
  /** Load average over 1, 5 and 15 minutes. */
  readonly load: readonly number[];
  readonly memory: {
    readonly total_bytes: number;
    readonly free_bytes: number;
    readonly daemon_rss_bytes: number;
    readonly runner_rss_bytes: number;
  };
  readonly soc_temperature_c: number | null;
  readonly throttled: Throttling | null;
  readonly queue: { readonly depth: number; readonly running: boolean };
  /** Decoding speed of the last job; 0 before the first. */
  readonly tokens_per_second: number;
  readonly slice: string;
  readonly runner: { readonly phase: string; readonly restarts: number };
  readonly mqtt: Readonly<Record<string, number>>;
  readonly streams: Readonly<Record<string, unknown>>;
  /** State by name. */
  readonly plugins: Readonly<Record<string, string>>;
}

/** The parts of the daemon that know. */
export interface HealthSources {
  queue(): Health['queue'];
  runner(): {
    readonly phase: string;
    readonly restarts: number;
    readonly rssBytes: number;
    readonly tokensPerSecond: number;
  };
  slice(): string;
  mqtt(): Health['mqtt'];
  streams(): Health['streams'];
  plugins(): Health['plugins'];
}

export interface HealthReporterOptions {
  readonly sources: HealthSources;
  readonly publish: (health: Health) => void;
  readonly log: Log;
  readonly intervalMs?: number;
  readonly sysDirectory?: string;
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

  async gather(): Promise<Health> {
    const { sources, sysDirectory } = this.#options;
    const [temperature, throttled] = await Promise.all([socTemperatureC(sysDirectory), throttling(sysDirectory)]);
    const { phase, restarts, rssBytes, tokensPerSecond } = sources.runner();
    return {
      ts: Date.now() / 1000,
      uptime_s: Math.round(process.uptime()),
      load: loadavg().map((value) => Math.round(value * 100) / 100),
      memory: {
        total_bytes: totalmem(),
        free_bytes: freemem(),
        daemon_rss_bytes: process.memoryUsage.rss(),
        runner_rss_bytes: rssBytes,
      },
      soc_temperature_c: temperature,
      throttled,
      queue: sources.queue(),
      tokens_per_second: Math.round(tokensPerSecond * 100) / 100,
      slice: sources.slice(),
      runner: { phase, restarts },
      mqtt: sources.mqtt(),
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
