/**
 * The runner: a child process of hearthd that owns the engine. If it crashes, is killed for its memory or hangs, a job
 * is lost and the daemon starts another; nothing else notices.
 */
import { HearthError } from '../errors';
import { generate } from './generate';
import { parsePrompts } from './model-prompts';
import { NativeEngine, type NativeSession } from './native';
import type { FromRunner, RemoteError, RunnerOptions, ToRunner } from './protocol';
import type { ModelInfo } from './types';

const aliveIntervalMs = 1000;
const maxAudioSeconds = 30;

/** What can be said about a job while it waits or runs. */
interface JobSignals {
  readonly cancel: AbortController;
  readonly hurry: AbortController;
}

interface Loaded {
  readonly engine: NativeEngine;
  readonly session: NativeSession;
  readonly options: RunnerOptions;
}

function toRemote(error: unknown): RemoteError {
  if (error instanceof HearthError) return { code: error.code, message: error.message };
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}

function modelInfo({ engine }: Loaded): ModelInfo {
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
    imageSizes: info.vision ? [256, 512, 768] : [],
    imageSize: info.vision ? info.imageSize : 0,
    maxAudioSeconds: info.audio ? maxAudioSeconds : 0,
    isa: info.isa,
    threads: info.threads,
    prompts: parsePrompts(info.prompts),
  };
}

class Runner {
  private loaded: Loaded | undefined;
  private steps = 0;
  private readonly waiting: Extract<ToRunner, { type: 'generate' }>[] = [];
  private readonly jobs = new Map<number, JobSignals>();
  private running = false;

  constructor(private readonly send: (message: FromRunner) => void) {
    setInterval(() => {
      this.send({ type: 'alive', busy: this.running, steps: this.steps, rssBytes: process.memoryUsage.rss() });
    }, aliveIntervalMs);
  }

  receive(message: ToRunner): void {
    switch (message.type) {
      case 'load':
        void this.load(message.options);
        break;
      case 'generate':
        this.jobs.set(message.id, { cancel: new AbortController(), hurry: new AbortController() });
        this.waiting.push(message);
        void this.work();
        break;
      case 'cancel':
        this.jobs.get(message.id)?.cancel.abort();
        break;
      case 'hurry':
        this.jobs.get(message.id)?.hurry.abort();
        break;
    }
  }

  private async load(options: RunnerOptions): Promise<void> {
    try {
      const engine = await NativeEngine.open(options);
      const session = engine.newSession();
      if (options.defaultSlice !== undefined) session.setSlice(options.defaultSlice);
      this.loaded = { engine, session, options };
      this.send({ type: 'ready', info: modelInfo(this.loaded) });
    } catch (error) {
      this.send({ type: 'load-failed', error: toRemote(error) });
    }
  }

  private async work(): Promise<void> {
    if (this.running) return;
    this.running = true;
    for (let job = this.waiting.shift(); job !== undefined; job = this.waiting.shift()) {
      const { id, request, deadlineAt, expectedTokens } = job;
      try {
        if (this.loaded === undefined) throw new HearthError('ENGINE_NOT_READY', 'the model is not loaded');
        const { engine, session, options } = this.loaded;
        const signals = this.jobs.get(id);
        const signal = signals?.cancel.signal ?? AbortSignal.abort();
        if (signal.aborted) throw new HearthError('ENGINE_CANCELLED', 'the job was cancelled before it began');
        const result = await generate(
          engine,
          session,
          request,
          {
            slice: options.defaultSlice ?? 'full',
            imageSize: options.defaultImageSize ?? 0,
            speculation: options.defaultSpeculation ?? 'auto',
          },
          {
            signal,
            pace: { deadlineAt, expectedTokens, ...(signals !== undefined && { hurry: signals.hurry.signal }) },
            onText: (piece) => this.send({ type: 'text', id, piece }),
            onStep: () => {
              this.steps++;
            },
          },
        );
        this.send({ type: 'done', id, result });
      } catch (error) {
        this.send({ type: 'failed', id, error: toRemote(error) });
      } finally {
        this.jobs.delete(id);
      }
    }
    this.running = false;
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
