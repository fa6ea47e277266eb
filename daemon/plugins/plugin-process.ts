/** One run of one plugin: its thread or process from start to end, watched for signs of life and for its memory. */
import type { Readable } from 'node:stream';
import { catalogue, type ErrorCode, HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import { type Isolate, type Isolation, startIsolate } from './isolate';
import type { MetricSink } from './ports';
import type { HostMethods, HostNotices, WorkerMethods, WorkerNotices } from './protocol';
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
  readonly isolation: Isolation;
  readonly limits: ProcessLimits;
  readonly methods: HostMethods;
  /** Called once, when its end is certain and before calls in hand reject; what it ran in may take a moment to be gone. */
  readonly onFail: (reason: HearthError) => void;
  readonly metrics?: MetricSink | undefined;
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
  readonly #isolate: Isolate;
  readonly #options: PluginProcessOptions;
  readonly rpc: Rpc<WorkerMethods, WorkerNotices>;
  /** Resolves once nothing of it runs; never rejects. */
  readonly ended: Promise<void>;
  #reason: HearthError | undefined;
  #watch: NodeJS.Timeout | undefined;
  #missed = 0;
  #heapBytes = 0;

  constructor(options: PluginProcessOptions) {
    this.#options = options;
    const { name, file, isolation, limits, log } = options;
    this.#isolate = startIsolate(isolation, { name, file, memoryMb: limits.memoryMb });
    this.#forward(this.#isolate.stdout, 'info');
    this.#forward(this.#isolate.stderr, 'warn');
    const notices: HostNotices = {
      pong: (externalBytes, heapBytes) => this.#pong(externalBytes, heapBytes),
      log: (severity, message, fields) => log[severity]({ fields }, message.slice(0, maxLogCharacters)),
      metric: (definition) => options.metrics?.define(definition),
      measure: (metric, value, labels) => options.metrics?.measure(metric, value, labels),
    };
    this.rpc = new Rpc(this.#isolate.port, {
      methods: options.methods as unknown as Methods,
      notices: notices as unknown as Methods,
      toError: (error) => fromPlugin(name, error),
      onMalformed: (reason) => log.warn({ reason }, 'the plugin posted something that is no message of its API'),
    });
    this.#isolate.onError((what) => this.fail(this.#crash(what)));
    this.ended = new Promise((resolve) => {
      this.#isolate.onExit((what) => {
        this.fail(this.#crash(what));
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

  /** Ends it at once; calls in hand reject with `reason`. The first reason is the one that counts. */
  fail(reason: HearthError): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    clearInterval(this.#watch);
    this.#options.onFail(reason);
    this.rpc.close(reason);
    this.#isolate.terminate();
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

  /** As it was when it was last heard of. */
  get heapBytes(): number {
    return this.#heapBytes;
  }

  #pong(externalBytes: number, heapBytes: number): void {
    this.#missed = 0;
    this.#heapBytes = Number(heapBytes);
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
