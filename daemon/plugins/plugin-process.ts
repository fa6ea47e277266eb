/** One run of one plugin: its worker thread from start to end, watched for signs of life and for its memory. */
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { Worker } from 'node:worker_threads';
import { catalogue, type ErrorCode, HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import type { HostMethods, HostNotices, WorkerMethods, WorkerNotices, WorkerSetup } from './protocol';
import { type Methods, Rpc, type WireError } from './rpc';

export interface ProcessLimits {
  /** Megabytes of JavaScript heap, and again of buffers outside it. */
  readonly memoryMb: number;
  /** A plugin whose event loop answers nothing for this long is ended. */
  readonly hangTimeoutMs: number;
}

export interface PluginProcessOptions {
  readonly name: string;
  readonly file: string;
  readonly limits: ProcessLimits;
  readonly methods: HostMethods;
  /** Called once, when its end is certain and before calls in hand reject; the thread may take a moment to be gone. */
  readonly onFail: (reason: HearthError) => void;
  readonly log: Log;
}

/** Looks at the plugin per hang timeout; counted, not timed, so that a pause of the whole machine is no hang. */
const looksPerTimeout = 4;
const maxLogCharacters = 2000;

/** The error as the host sees it: codes of the catalogue stay, everything else is the plugin's failure. */
export function fromPlugin(name: string, { code, message }: WireError): HearthError {
  if (code !== undefined && Object.hasOwn(catalogue, code)) return new HearthError(code as ErrorCode, message);
  return new HearthError('PLUGIN_FAILED', `${name}: ${code === undefined ? '' : `${code}: `}${message}`);
}

export class PluginProcess {
  readonly #worker: Worker;
  readonly #options: PluginProcessOptions;
  readonly rpc: Rpc<WorkerMethods, WorkerNotices>;
  /** Resolves once the thread is gone; never rejects. */
  readonly ended: Promise<void>;
  #reason: HearthError | undefined;
  #watch: NodeJS.Timeout | undefined;
  #missed = 0;

  constructor(options: PluginProcessOptions) {
    this.#options = options;
    const { name, file, limits, log } = options;
    const setup: WorkerSetup = { file };
    this.#worker = new Worker(join(__dirname, 'worker.js'), {
      workerData: setup,
      // What the daemon was given in its environment is none of a plugin's business.
      env: {},
      argv: [],
      execArgv: ['--no-addons', '--enable-source-maps'],
      stdout: true,
      stderr: true,
      resourceLimits: {
        maxOldGenerationSizeMb: limits.memoryMb,
        maxYoungGenerationSizeMb: Math.min(16, limits.memoryMb),
      },
      name: `plugin ${name}`,
    });
    for (const [stream, severity] of [
      [this.#worker.stdout, 'info'],
      [this.#worker.stderr, 'warn'],
    ] as const)
      this.#forward(stream, severity);
    const notices: HostNotices = {
      pong: (externalBytes) => this.#pong(externalBytes),
      log: (severity, message, fields) => log[severity]({ fields }, message.slice(0, maxLogCharacters)),
    };
    this.rpc = new Rpc(this.#worker, {
      methods: options.methods as unknown as Methods,
      notices: notices as unknown as Methods,
      toError: (error) => fromPlugin(name, error),
      onMalformed: (reason) => log.warn({ reason }, 'the plugin posted something that is no message of its API'),
    });
    this.ended = new Promise((resolve) => {
      this.#worker.once('error', (error) => this.fail(this.#crash(describe(error, limits))));
      this.#worker.once('messageerror', (error) => this.fail(this.#crash(messageOf(error))));
      this.#worker.once('exit', (code) => {
        this.fail(this.#crash(`it left with exit code ${code}`));
        resolve();
      });
    });
  }

  /** From now on it must answer; before, the time its start may take is the limit. */
  watch(): void {
    this.#watch = setInterval(() => {
      if (this.#missed >= looksPerTimeout) {
        this.fail(this.#crash(`its event loop was blocked for ${this.#options.limits.hangTimeoutMs} ms`));
        return;
      }
      this.#missed++;
      this.rpc.notify('ping', []);
    }, this.#options.limits.hangTimeoutMs / looksPerTimeout);
    this.#watch.unref();
  }

  /** Ends the thread at once; calls in hand reject with `reason`. The first reason is the one that counts. */
  fail(reason: HearthError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    clearInterval(this.#watch);
    this.#options.onFail(reason);
    this.rpc.close(reason);
    void this.#worker.terminate();
  }

  /** Lets the plugin stop by itself for `graceMs`. */
  async stop(graceMs: number, reason: HearthError): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, graceMs);
    });
    await Promise.race([
      this.rpc
        .call('stop', [])
        .catch((error: unknown) =>
          this.#options.log.warn({ reason: messageOf(error) }, 'the plugin did not stop well'),
        ),
      late,
    ]);
    clearTimeout(timer);
    this.fail(reason);
    await this.ended;
  }

  #pong(externalBytes: number): void {
    this.#missed = 0;
    const { memoryMb } = this.#options.limits;
    if (externalBytes > memoryMb * 2 ** 20) {
      this.fail(
        this.#crash(`its buffers took ${Math.round(externalBytes / 2 ** 20)} MB, expected at most ${memoryMb}`),
      );
    }
  }

  /** A line may be cut in two: what waits for its end would be memory of the daemon's. */
  #forward(stream: Readable, severity: 'info' | 'warn'): void {
    stream.setEncoding('utf8').on('data', (text: string) => {
      for (const line of text.split('\n')) {
        if (line !== '') this.#options.log[severity](line.slice(0, maxLogCharacters));
      }
    });
  }

  #crash(what: string): HearthError {
    return new HearthError('PLUGIN_CRASHED', `plugin ${this.#options.name}: ${what}`);
  }
}

function describe(error: unknown, limits: ProcessLimits): string {
  const code = typeof error === 'object' && error !== null ? (error as { code?: unknown }).code : undefined;
  if (code === 'ERR_WORKER_OUT_OF_MEMORY') return `its heap took more than ${limits.memoryMb} MB`;
  return `it ended with ${messageOf(error).slice(0, 300)}`;
}
