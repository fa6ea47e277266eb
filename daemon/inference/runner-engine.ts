/** The engine behind a process boundary: starts the runner, hands it jobs, restarts it when it ends or stalls. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { BehaviorSubject, type Observable } from 'rxjs';
import { catalogue, HearthError } from '../errors';
import type { Engine, Listening, ListenOptions, Watching, WatchOptions } from './engine';
import type { FromRunner, RunnerMemory, RunnerOptions, ToRunner } from './protocol';
import type { EngineState, GenerateOptions, GenerateRequest, GenerateResult, ModelInfo } from './types';

export interface RunnerEngineOptions extends RunnerOptions {
  /** A busy runner that completes no step for this long is ended, and one that loads no part of the model. Default 180 s: one picture at 768 px on a slow board. */
  readonly stallTimeoutMs?: number;
  /** First delay before a restart; doubles up to 30 s, and starts over once a job has succeeded. */
  readonly restartDelayMs?: number;
}

export interface RunnerHealth extends RunnerMemory {
  readonly pid: number | null;
  /** Unix time in milliseconds of the last sign of life: a step while busy, a part of the model while loading, a heartbeat while idle. */
  readonly lastProgressMs: number;
  readonly busy: boolean;
  readonly restarts: number;
  /** Of the last finished job; 0 before the first. */
  readonly tokensPerSecond: number;
}

/** The model of a runner, and what of its options belongs to that model alone. */
export interface RunnerModel {
  readonly modelPath: string;
  readonly multimodalPath: string | undefined;
  readonly loadSlice: string | undefined;
  readonly defaultSlice: string | undefined;
}

/** The load of another model: until it is done, the one before is remembered. */
interface Switch {
  /** Undefined once it has been gone back to. */
  previous: RunnerModel | undefined;
  /** Why it was gone back. */
  error: HearthError | undefined;
  readonly done: (outcome: ModelInfo | HearthError) => void;
}

interface Job {
  readonly id: number;
  readonly resolve: (result: GenerateResult) => void;
  readonly reject: (error: HearthError) => void;
  readonly onText: ((piece: string) => void) | undefined;
  readonly release: () => void;
}

const noMemory: RunnerMemory = { rssBytes: 0, kvBytes: 0 };
const maxRestartDelayMs = 30_000;
const killGraceMs = 2000;

export class RunnerEngine implements Engine {
  private readonly state = new BehaviorSubject<EngineState>({ phase: 'starting' });
  readonly state$: Observable<EngineState> = this.state.asObservable();
  private child: ChildProcess | undefined;
  private readonly jobs = new Map<number, Job>();
  private nextId = 1;
  private attempts = 0;
  private restarts = 0;
  private restartTimer: NodeJS.Timeout | undefined;
  private stallTimer: NodeJS.Timeout | undefined;
  /** The runner was ended because it made no progress. */
  private stalled = false;
  private steps = 0;
  private busy = false;
  private memory: RunnerMemory = noMemory;
  private lastProgressMs = Date.now();
  private tokensPerSecond = 0;
  private endReason: string | undefined;
  private closed = false;
  private switching: Switch | undefined;

  constructor(private options: RunnerEngineOptions) {
    this.start();
  }

  /** What is loaded, or being loaded. */
  get model(): RunnerModel {
    const { modelPath, multimodalPath, loadSlice, defaultSlice } = this.options;
    return { modelPath, multimodalPath, loadSlice, defaultSlice };
  }

  /**
   * Loads another model in place of this one; two are never in memory at a time. Where it cannot be loaded, the one before
   * is loaded again, and then this rejects with the reason. Jobs under way are lost: let them end before. Rejects with
   * `MODEL_BUSY` while another is being loaded.
   */
  async load(model: RunnerModel): Promise<ModelInfo> {
    if (this.closed) throw new HearthError('SHUTDOWN', 'the daemon is stopping');
    if (this.switching !== undefined) throw new HearthError('MODEL_BUSY', 'another model is being loaded');
    const outcome = new Promise<ModelInfo | HearthError>((done) => {
      this.switching = { previous: this.model, error: undefined, done };
    });
    clearTimeout(this.restartTimer);
    this.options = { ...this.options, ...model };
    this.attempts = 0;
    this.state.next({ phase: 'loading', fraction: 0 });
    const child = this.child;
    this.forgetRunner();
    for (const { id } of [...this.jobs.values()])
      this.take(id)?.reject(new HearthError('ENGINE_RESTARTED', 'another model is being loaded'));
    if (child !== undefined) await end(child);
    if (!this.closed) this.start();
    const settled = await outcome;
    if (settled instanceof HearthError) throw settled;
    return settled;
  }

  health(): RunnerHealth {
    return {
      pid: this.child?.pid ?? null,
      ...this.memory,
      lastProgressMs: this.lastProgressMs,
      busy: this.busy,
      restarts: this.restarts,
      tokensPerSecond: this.tokensPerSecond,
    };
  }

  async generate(request: GenerateRequest, options: GenerateOptions = {}): Promise<GenerateResult> {
    const state = this.state.value;
    if (state.phase !== 'ready' || this.child === undefined) {
      const why = state.phase === 'failed' ? `${state.code}: ${state.reason}` : state.phase;
      throw new HearthError('ENGINE_NOT_READY', `the model is not ready (${why})`);
    }
    if (options.signal?.aborted) throw new HearthError('ENGINE_CANCELLED', 'the job was cancelled before it began');
    const id = this.nextId++;
    return await new Promise<GenerateResult>((resolve, reject) => {
      const cancel = (): void => this.tell({ type: 'cancel', id });
      options.signal?.addEventListener('abort', cancel, { once: true });
      const hurry = (): void => this.tell({ type: 'hurry', id });
      options.hurry?.addEventListener('abort', hurry, { once: true });
      const release = (): void => {
        options.signal?.removeEventListener('abort', cancel);
        options.hurry?.removeEventListener('abort', hurry);
      };
      this.jobs.set(id, { id, resolve, reject, onText: options.onText, release });
      const { priority = 0, deadlineAt, expectedTokens } = options;
      this.tell({ type: 'generate', id, request, priority, deadlineAt, expectedTokens });
      if (options.hurry?.aborted === true) hurry();
    });
  }

  listen({ priority = 0, slice }: ListenOptions = {}): Listening {
    const id = this.nextId++;
    const tell = this.tellThisRunner();
    if (this.state.value.phase === 'ready') tell({ type: 'listen', id, priority, slice });
    return {
      heard: (samples) => tell({ type: 'heard', id, samples }),
      paused: () => tell({ type: 'paused', id }),
      end: () => tell({ type: 'spoken', id }),
      cancel: () => tell({ type: 'cancel', id }),
    };
  }

  watch({ priority = 0, maxTokens, slice, imageSize }: WatchOptions): Watching {
    const id = this.nextId++;
    const tell = this.tellThisRunner();
    if (this.state.value.phase === 'ready') tell({ type: 'watch', id, priority, maxTokens, slice, imageSize });
    return {
      seen: (frame) => tell({ type: 'frame', id, frame }),
      heard: (sound) => tell({ type: 'sound', id, sound }),
      end: () => tell({ type: 'cancel', id }),
    };
  }

  /** To the runner there is now: one that took its place knows nothing of what was said before. */
  private tellThisRunner(): (message: ToRunner) => void {
    const child = this.child;
    return (message) => {
      if (child === this.child) this.tell(message);
    };
  }

  async close(): Promise<void> {
    this.closed = true;
    clearTimeout(this.restartTimer);
    for (const id of this.jobs.keys()) this.tell({ type: 'cancel', id });
    if (this.child !== undefined) await end(this.child);
    this.endSwitch(new HearthError('SHUTDOWN', 'the daemon is stopping'));
    this.state.next({ phase: 'stopped' });
    this.state.complete();
  }

  private start(): void {
    this.steps = 0;
    this.busy = false;
    this.endReason = undefined;
    this.stalled = false;
    this.lastProgressMs = Date.now();
    // No environment: what the daemon was given there (credentials among it) is none of the runner's business.
    const child = fork(join(__dirname, 'runner.js'), [], {
      serialization: 'advanced',
      env: {},
      execArgv: ['--enable-source-maps'],
    });
    this.child = child;
    child.on('message', (message) => this.receive(message as FromRunner));
    child.on('error', (error) => {
      this.endReason ??= error.message;
    });
    child.once('exit', (code, signal) => this.ended(child, signal ?? `exit code ${code}`));
    this.stallTimer = setInterval(() => this.checkProgress(), 1000);
    this.stallTimer.unref();
    this.state.next({ phase: 'loading', fraction: 0 });
    const { stallTimeoutMs: _stall, restartDelayMs: _delay, ...options } = this.options;
    this.tell({ type: 'load', options });
  }

  private tell(message: ToRunner): void {
    // Fails only when the runner is gone, and then its exit settles every job.
    if (this.child?.connected) this.child.send(message, () => undefined);
  }

  private receive(message: FromRunner): void {
    switch (message.type) {
      case 'loading': {
        const state = this.state.value;
        if (state.phase !== 'loading' || message.fraction < state.fraction) break;
        this.lastProgressMs = Date.now();
        this.state.next({ phase: 'loading', fraction: message.fraction });
        break;
      }
      case 'ready':
        this.lastProgressMs = Date.now();
        this.state.next({ phase: 'ready', info: message.info });
        this.endSwitch(message.info);
        break;
      case 'load-failed': {
        const { code, message: reason } = message.error;
        this.endReason = `${code}: ${reason}`;
        if (this.switching?.previous !== undefined) this.switching.error = new HearthError(code, reason);
        else if (!catalogue[code].retryable) this.state.next({ phase: 'failed', code, reason });
        this.child?.disconnect();
        break;
      }
      case 'alive':
        // A runner that waits for a disk for good is alive, too.
        if (this.state.value.phase === 'ready' && (!message.busy || message.steps !== this.steps))
          this.lastProgressMs = Date.now();
        this.busy = message.busy;
        this.steps = message.steps;
        this.memory = { rssBytes: message.rssBytes, kvBytes: message.kvBytes, reuse: message.reuse };
        break;
      case 'text':
        this.lastProgressMs = Date.now();
        this.jobs.get(message.id)?.onText?.(message.piece);
        break;
      case 'done': {
        this.attempts = 0;
        const { tokens, timings } = message.result;
        if (timings.decode > 0) this.tokensPerSecond = (tokens.completion / timings.decode) * 1000;
        this.take(message.id)?.resolve(message.result);
        break;
      }
      case 'failed': {
        const { code, message: text } = message.error;
        this.take(message.id)?.reject(new HearthError(code in catalogue ? code : 'INTERNAL', text));
        break;
      }
    }
  }

  private endSwitch(outcome: ModelInfo | HearthError): void {
    const { switching } = this;
    this.switching = undefined;
    switching?.done(switching.error ?? outcome);
  }

  /** The runner ended before the model was loaded: as its error says, or without a word. */
  private goBack(switching: Switch, previous: RunnerModel, reason: string): void {
    switching.error ??= new HearthError('ENGINE_RESTARTED', `the runner ended while it loaded the model (${reason})`);
    switching.previous = undefined;
    this.options = { ...this.options, ...previous };
    this.start();
  }

  private forgetRunner(): void {
    clearInterval(this.stallTimer);
    this.child = undefined;
    this.busy = false;
    this.memory = noMemory;
  }

  private take(id: number): Job | undefined {
    const job = this.jobs.get(id);
    this.jobs.delete(id);
    job?.release();
    return job;
  }

  private checkProgress(): void {
    const timeoutMs = this.options.stallTimeoutMs ?? 180_000;
    if (this.jobs.size === 0 && this.state.value.phase === 'ready' && !this.busy) return;
    if (Date.now() - this.lastProgressMs < timeoutMs) return;
    this.stalled = true;
    this.endReason = `no progress for ${timeoutMs} ms`;
    this.child?.kill('SIGKILL');
  }

  private ended(child: ChildProcess, how: string): void {
    if (child !== this.child) return;
    this.forgetRunner();
    const reason = this.endReason ?? `the runner ended: ${how}`;
    const failed = this.state.value.phase === 'failed';
    for (const job of [...this.jobs.values()]) {
      const error = this.closed
        ? new HearthError('SHUTDOWN', 'the daemon is stopping')
        : new HearthError(
            this.stalled ? 'ENGINE_STALLED' : 'ENGINE_RESTARTED',
            `the runner ended while the job ran (${reason})`,
          );
      this.take(job.id)?.reject(error);
    }
    if (this.closed) return;
    const { switching } = this;
    if (switching?.previous !== undefined) {
      this.goBack(switching, switching.previous, reason);
      return;
    }
    // Not even the one before: what becomes of it is not the switch's any more.
    this.endSwitch(new HearthError('ENGINE_RESTARTED', reason));
    if (failed) return;
    const delayMs = Math.min(maxRestartDelayMs, (this.options.restartDelayMs ?? 500) * 2 ** this.attempts);
    this.attempts++;
    this.restarts++;
    this.state.next({ phase: 'restarting', reason, attempt: this.attempts, delayMs });
    this.restartTimer = setTimeout(() => this.start(), delayMs);
  }
}

/** The runner leaves when the channel closes; a chunk in hand may take longer than we are willing to wait. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  if (child.connected) child.disconnect();
  const timer = setTimeout(() => child.kill('SIGKILL'), killGraceMs);
  await exited;
  clearTimeout(timer);
}
