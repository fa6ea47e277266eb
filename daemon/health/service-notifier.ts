/** What the service manager is told: starting, ready, alive, stopping. The format is that of sd_notify(3). */
import type { EngineState } from '../inference/types';

export interface ServiceNotifierOptions {
  /** Sends one message; nothing where no service manager listens. */
  readonly notify: (state: string) => void;
  readonly engine: () => EngineState;
  readonly runner: () => { readonly lastProgressMs: number };
  /** A runner without a sign of life for longer counts as stuck: the daemon itself should have restarted it by then. */
  readonly stallTimeoutMs: number;
  /** Half of the shortest `WatchdogSec` it is meant for, or less. Default 10 s. */
  readonly intervalMs?: number;
  readonly now?: () => number;
}

/** Beyond the stall timeout: how long the daemon may take to notice by itself and start a new runner. */
const graceMs = 15_000;

export class ServiceNotifier {
  readonly #options: ServiceNotifierOptions;
  #timer: NodeJS.Timeout | undefined;
  #ready = false;

  constructor(options: ServiceNotifierOptions) {
    this.#options = options;
  }

  /** From now on the service manager hears from us: more time to start until `ready`, the watchdog afterwards. */
  start(): void {
    this.#beat();
    this.#timer = setInterval(() => this.#beat(), this.#intervalMs());
    this.#timer.unref();
  }

  /** The engine is in another phase: said at once until `ready`. */
  changed(): void {
    if (!this.#ready) this.#beat();
  }

  ready(status: string): void {
    this.#ready = true;
    this.#options.notify(`READY=1\nSTATUS=${line(status)}`);
    this.#beat();
  }

  stopping(): void {
    clearInterval(this.#timer);
    this.#options.notify('STOPPING=1');
  }

  #beat(): void {
    if (!this.#ready) {
      const state = this.#options.engine();
      // While nothing comes from the disk any more, no more time is asked for.
      if (state.phase === 'failed' || (state.phase === 'loading' && !this.#makesProgress())) return;
      const allowedUs = (this.#intervalMs() + graceMs) * 1000;
      this.#options.notify(`EXTEND_TIMEOUT_USEC=${allowedUs}\nSTATUS=${line(`model: ${describe(state)}`)}`);
    } else if (this.#makesProgress()) {
      this.#options.notify('WATCHDOG=1');
    }
  }

  #makesProgress(): boolean {
    const { engine, runner, stallTimeoutMs, now = Date.now } = this.#options;
    const { phase } = engine();
    // Between two runners it is the daemon that works, with a bounded wait; given up for good is what the watchdog is for.
    if (phase === 'failed' || phase === 'stopped') return false;
    if (phase === 'restarting') return true;
    return now() - runner().lastProgressMs < stallTimeoutMs + graceMs;
  }

  #intervalMs(): number {
    return this.#options.intervalMs ?? 10_000;
  }
}

function describe(state: EngineState): string {
  return state.phase === 'loading' ? `loading, ${Math.floor(state.fraction * 100)} %` : state.phase;
}

/** One line, as the protocol wants it. */
function line(text: string): string {
  return text.replace(/[\r\n]+/g, ' ').slice(0, 200);
}
