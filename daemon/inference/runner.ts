/**
 * The runner: a child process of hearthd that owns the engine. If it crashes, is killed for its memory or hangs, a job
 * is lost and the daemon starts another; nothing else notices.
 */
import { HearthError } from '../errors';
import { Listener } from './listener';
import { generateOfAnyLength, maxClipSeconds } from './long-audio';
import { parsePrompts } from './model-prompts';
import { NativeEngine, type NativeSession } from './native';
import type { SparePool } from './prefill-ahead';
import type { FromRunner, RemoteError, RunnerOptions, ToRunner } from './protocol';
import { SessionPool } from './session-pool';
import { StepScheduler } from './step-scheduler';
import type { ModelInfo } from './types';
import { Watcher } from './watcher';

const aliveIntervalMs = 1000;
/** Clips that are listened to at a time, 10 MB each; others are encoded when they are whole. */
const maxListeners = 4;
/** Videos that are watched at a time. */
const maxWatchers = 8;

interface Loaded {
  readonly engine: NativeEngine;
  readonly sessions: SessionPool<NativeSession>;
  readonly options: RunnerOptions;
}

function toRemote(error: unknown): RemoteError {
  if (error instanceof HearthError) return { code: error.code, message: error.message };
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}

function modelInfo({ engine, options }: Loaded): ModelInfo {
  const { info } = engine;
  return {
    name: info.name,
    architecture: 'gemma3n',
    parameters: info.parameters,
    layers: info.layers,
    contextLength: info.contextLength,
    modalities: ['text', ...(info.vision ? (['image'] as const) : []), ...(info.audio ? (['audio'] as const) : [])],
    slices: info.slices.map(({ name }) => name),
    sliceInfos: info.slices,
    loadedSlice: info.loadedSlice,
    imageSizes: info.vision ? [256, 512, 768] : [],
    imageSize: info.vision ? info.imageSize : 0,
    maxAudioSeconds: info.audio ? maxClipSeconds : 0,
    isa: info.isa,
    threads: info.threads,
    memory: {
      kvType: info.kvType,
      kvBytes: info.kvBytes,
      kvBytesF16: info.kvBytesF16,
      kvBytesQ8: info.kvBytesQ8,
      sessions: options.concurrency ?? 1,
      weightBytes: info.weightBytes,
      encoderBytes: info.multimodalBytes,
      totalBytes: info.memoryBytes,
    },
    prompts: parsePrompts(info.prompts),
  };
}

type Job = Extract<ToRunner, { type: 'generate' }> & {
  readonly abort: AbortController;
  readonly hurry: AbortController;
};

class Runner {
  private loaded: Loaded | undefined;
  private steps = 0;
  private readonly scheduler = new StepScheduler({ onStep: () => this.steps++ });
  /** Most urgent first. The daemon sends no more jobs than there are sessions, so hardly anything ever waits here. */
  private readonly waiting: Job[] = [];
  private readonly jobs = new Map<number, Job>();
  private readonly listeners = new Map<number, Listener>();
  private readonly watchers = new Map<number, Watcher>();
  /** Clips that are whole, but not prepared to the end. */
  private readonly ending = new Set<Promise<void>>();

  constructor(private readonly send: (message: FromRunner) => void) {
    setInterval(() => this.tellAlive(), aliveIntervalMs);
  }

  receive(message: ToRunner): void {
    switch (message.type) {
      case 'load':
        void this.load(message.options);
        break;
      case 'generate': {
        const job: Job = { ...message, abort: new AbortController(), hurry: new AbortController() };
        this.jobs.set(job.id, job);
        const after = this.waiting.findIndex(({ priority }) => priority < job.priority);
        this.waiting.splice(after < 0 ? this.waiting.length : after, 0, job);
        this.startJobs();
        break;
      }
      case 'cancel':
        this.cancel(message.id);
        break;
      case 'hurry':
        this.jobs.get(message.id)?.hurry.abort();
        break;
      case 'listen':
        this.listen(message);
        break;
      case 'watch':
        this.watch(message);
        break;
      case 'frame':
        this.watchers.get(message.id)?.seen(message.frame);
        break;
      case 'sound':
        this.watchers.get(message.id)?.heard(message.sound);
        break;
      case 'heard':
        this.listeners.get(message.id)?.heard(message.samples);
        break;
      case 'paused':
        this.listeners.get(message.id)?.paused();
        break;
      case 'spoken':
        this.endListening(message.id);
        break;
    }
  }

  private tellAlive(): void {
    this.send({
      type: 'alive',
      busy: this.jobs.size > 0,
      steps: this.steps,
      rssBytes: process.memoryUsage.rss(),
      kvBytes: this.loaded?.sessions.kvBytes ?? 0,
      reuse: this.loaded?.engine.reuse(),
    });
  }

  private async load(options: RunnerOptions): Promise<void> {
    try {
      const { concurrency = 1 } = options;
      // What is told of the load may come after its end: by then it is no news.
      let loading = true;
      const engine = await NativeEngine.open({
        ...options,
        sessions: concurrency,
        onProgress: (fraction) => {
          if (loading) this.send({ type: 'loading', fraction });
        },
      });
      loading = false;
      this.send({ type: 'loading', fraction: 1 });
      const sessions = new SessionPool(() => engine.newSession(), concurrency);
      // A slice the model does not have is found out now, not by the first job.
      const first = sessions.take();
      if (options.defaultSlice !== undefined) first.setSlice(options.defaultSlice);
      sessions.give(first);
      this.loaded = { engine, sessions, options };
      this.send({ type: 'ready', info: modelInfo(this.loaded) });
      this.tellAlive();
    } catch (error) {
      this.send({ type: 'load-failed', error: toRemote(error) });
    }
  }

  private listen({ id, priority, slice }: Extract<ToRunner, { type: 'listen' }>): void {
    if (this.loaded === undefined || this.listeners.size >= maxListeners) return;
    const { engine, sessions, options } = this.loaded;
    try {
      const listener = new Listener({
        engine,
        sessions: this.spare(sessions),
        join: (signal) => this.scheduler.join(priority, signal),
        slice: slice ?? options.defaultSlice ?? 'full',
      });
      this.listeners.set(id, listener);
    } catch {
      // Of no more use than a listener that fails later: the job that comes with the clip gets the error.
    }
  }

  private watch({ id, priority, slice, imageSize, maxTokens }: Extract<ToRunner, { type: 'watch' }>): void {
    if (this.loaded === undefined || this.watchers.size >= maxWatchers) return;
    const { engine, sessions, options } = this.loaded;
    const watcher = new Watcher({
      engine,
      sessions: this.spare(sessions),
      join: (signal) => this.scheduler.join(priority, signal),
      slice: slice ?? options.defaultSlice ?? 'full',
      imageSize: imageSize ?? options.defaultImageSize ?? 0,
      maxTokens,
    });
    this.watchers.set(id, watcher);
  }

  /** The sessions for those who only need one for a step: a job may wait for it. */
  private spare(sessions: SessionPool<NativeSession>): SparePool<NativeSession> {
    return {
      get available() {
        return sessions.available;
      },
      take: () => sessions.take(),
      give: (session) => {
        sessions.give(session);
        this.startJobs();
      },
    };
  }

  private endListening(id: number): void {
    const listener = this.listeners.get(id);
    if (listener === undefined) return;
    this.listeners.delete(id);
    const ended = listener.end().then(() => void this.ending.delete(ended));
    this.ending.add(ended);
  }

  private cancel(id: number): void {
    this.listeners.get(id)?.cancel();
    this.listeners.delete(id);
    this.watchers.get(id)?.cancel();
    this.watchers.delete(id);
    const job = this.jobs.get(id);
    job?.abort.abort();
    const at = job === undefined ? -1 : this.waiting.indexOf(job);
    if (at < 0) return;
    this.waiting.splice(at, 1);
    this.failed(id, new HearthError('ENGINE_CANCELLED', 'the job was cancelled before it began'));
  }

  private startJobs(): void {
    while (this.waiting.length > 0 && (this.loaded?.sessions.available ?? true)) {
      const job = this.waiting.shift();
      if (job !== undefined) void this.run(job);
    }
  }

  /** Never rejects: a job that fails is its own affair. */
  private async run(job: Job): Promise<void> {
    const { id, request, priority, deadlineAt, expectedTokens } = job;
    try {
      if (this.loaded === undefined) throw new HearthError('ENGINE_NOT_READY', 'the model is not loaded');
      const { engine, sessions, options } = this.loaded;
      // One of them may be of this job's clip.
      await Promise.all(this.ending);
      const session = sessions.take();
      try {
        const result = await generateOfAnyLength(
          engine,
          session,
          request,
          {
            slice: options.defaultSlice ?? engine.info.loadedSlice,
            imageSize: options.defaultImageSize ?? 0,
            speculation: options.defaultSpeculation ?? 'auto',
          },
          {
            pace: { deadlineAt, expectedTokens, hurry: job.hurry.signal },
            onText: (piece) => this.send({ type: 'text', id, piece }),
            step: this.scheduler.join(priority, job.abort.signal).step,
          },
        );
        this.jobs.delete(id);
        this.send({ type: 'done', id, result });
      } finally {
        sessions.give(session);
      }
    } catch (error) {
      this.failed(id, error);
    }
    this.startJobs();
  }

  private failed(id: number, error: unknown): void {
    this.jobs.delete(id);
    this.send({ type: 'failed', id, error: toRemote(error) });
  }
}

function main(): void {
  if (process.send === undefined) {
    process.stderr.write('INTERNAL: the runner is started by hearthd, not by hand\n');
    process.exit(70);
  }
  const runner = new Runner((message) => {
    // A send to a daemon that is gone fails; the disconnect handler ends the process.
    process.send?.(message, undefined, undefined, () => undefined);
  });
  process.on('message', (message) => runner.receive(message as ToRunner));
  process.on('disconnect', () => process.exit(0));
  // The daemon decides when to stop; Ctrl-C in a terminal reaches the whole process group.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
}

main();
