/** How long to wait before a plugin is started again, and when not to any more. */
import type { PluginTiming } from './ports';

export class BackOff {
  readonly #crashes: number[] = [];

  constructor(
    private readonly timing: Pick<
      PluginTiming,
      'restartDelayMs' | 'maxRestartDelayMs' | 'crashLimit' | 'crashWindowMs'
    >,
    private readonly now: () => number = () => performance.now(),
    private readonly random: () => number = Math.random,
  ) {}

  /** Milliseconds until the next start; undefined when there were too many crashes. Jitter keeps plugins from restarting in step. */
  crashed(): number | undefined {
    const { restartDelayMs, maxRestartDelayMs, crashLimit, crashWindowMs } = this.timing;
    const now = this.now();
    this.#crashes.push(now);
    while (this.#crashes[0] !== undefined && this.#crashes[0] <= now - crashWindowMs) this.#crashes.shift();
    if (this.#crashes.length >= crashLimit) return undefined;
    const delayMs = Math.min(maxRestartDelayMs, restartDelayMs * 2 ** (this.#crashes.length - 1));
    return delayMs * (0.5 + this.random() / 2);
  }

  reset(): void {
    this.#crashes.length = 0;
  }
}
