/** A plugin host with real workers, queue and dispatcher, between a bus and an engine that the test plays. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { BehaviorSubject } from 'rxjs';
import type { Bus, MessageHandler, PartialText, PluginState, PublishOptions, RequestHandler } from '../../daemon/bus/bus';
import { HearthError } from '../../daemon/errors';
import type { StreamEvent } from '../../daemon/events';
import type { Engine } from '../../daemon/inference/engine';
import { defaultPrompts } from '../../daemon/inference/model-prompts';
import type { EngineState, GenerateOptions, GenerateRequest, GenerateResult, ModelInfo } from '../../daemon/inference/types';
import { PluginHost } from '../../daemon/plugins/host';
import { defaultTiming, type PluginHostOptions, type PluginSettings, type PluginTiming } from '../../daemon/plugins/ports';
import { Dispatcher } from '../../daemon/streams/dispatcher';
import { JobQueue } from '../../daemon/streams/job-queue';
import { type DecodedMedia, MediaStore } from '../../daemon/streams/media-store';
import { Skips } from '../../daemon/streams/skips';

export const model: ModelInfo = {
  name: 'nano',
  architecture: 'gemma3n',
  parameters: 1,
  layers: 1,
  contextLength: 512,
  modalities: ['text', 'image', 'audio'],
  slices: ['full'],
  imageSizes: [256],
  maxAudioSeconds: 30,
  isa: 'scalar',
  threads: 1,
  prompts: {
    ...defaultPrompts,
    caption: 'Describe the image.',
    transcribe: 'Transcribe the audio.',
    translateAudio: 'Translate the audio into {lang}.',
    translate: 'Translate into {lang}: {text}',
    call: 'Answer with one JSON function call, or null.\n{text}',
  },
};

export class FakeBus implements Pick<Bus, 'publish' | 'publishEvent' | 'publishPartial' | 'publishPluginState' | 'subscribe' | 'onRequest'> {
  readonly published: { topic: string; payload: string; options: PublishOptions | undefined }[] = [];
  readonly events: StreamEvent[] = [];
  readonly partials: { stream: string; partial: PartialText }[] = [];
  readonly states: { name: string; state: PluginState }[] = [];
  readonly requests = new Map<string, RequestHandler>();
  readonly subscriptions = new Map<string, MessageHandler>();

  publish(topic: string, payload: string | Uint8Array, options?: PublishOptions): Promise<void> {
    this.published.push({ topic, payload: Buffer.from(payload).toString(), options });
    return Promise.resolve();
  }

  publishEvent(event: StreamEvent): Promise<void> {
    this.events.push(event);
    return Promise.resolve();
  }

  publishPartial(stream: string, partial: PartialText): void {
    this.partials.push({ stream, partial });
  }

  publishPluginState(name: string, state: PluginState): void {
    this.states.push({ name, state });
  }

  subscribe(filter: string, handler: MessageHandler): Promise<() => Promise<void>> {
    this.subscriptions.set(filter, handler);
    return Promise.resolve(() => {
      this.subscriptions.delete(filter);
      return Promise.resolve();
    });
  }

  onRequest(verb: string, handler: RequestHandler): () => void {
    if (this.requests.has(verb)) throw new HearthError('INTERNAL', `request verb ${verb} is answered already`);
    this.requests.set(verb, handler);
    return () => this.requests.delete(verb);
  }

  async ask(verb: string, payload: Readonly<Record<string, unknown>>, id = 'request-1'): Promise<unknown> {
    const handler = this.requests.get(verb);
    if (handler === undefined) throw new HearthError('REQUEST_UNKNOWN_VERB', verb);
    return await handler({ id, verb, payload: { id, ...payload }, topic: `hearth/pi5/request/${verb}`, properties: {}, receivedTs: Date.now() / 1000 });
  }

  statesOf(name: string): string[] {
    return this.states.filter((entry) => entry.name === name).map(({ state }) => state.state);
  }

  lastState(name: string): PluginState | undefined {
    return this.states.filter((entry) => entry.name === name).at(-1)?.state;
  }
}

export type Reply = string | GenerateResult | Error;

export function resultOf(text: string, more: Partial<GenerateResult> = {}): GenerateResult {
  return {
    text,
    finishReason: 'stop',
    tokens: { prompt: 10, completion: 3 },
    timings: { encode: 1, prefill: 1, decode: 1, firstToken: 1, total: 3 },
    slice: 'full',
    ...more,
  };
}

/** Says what the test says; remembers what it was asked. */
export class FakeEngine implements Pick<Engine, 'generate' | 'state$'> {
  readonly state$ = new BehaviorSubject<EngineState>({ phase: 'ready', info: model });
  readonly asked: GenerateRequest[] = [];
  readonly signals: AbortSignal[] = [];
  reply: (request: GenerateRequest, options: GenerateOptions | undefined) => Reply | Promise<Reply> = () => 'A reply.';

  async generate(request: GenerateRequest, options?: GenerateOptions): Promise<GenerateResult> {
    this.asked.push(request);
    if (options?.signal !== undefined) this.signals.push(options.signal);
    const reply = await this.reply(request, options);
    if (reply instanceof Error) throw reply;
    const result = typeof reply === 'string' ? resultOf(reply) : reply;
    options?.onText?.(result.text);
    return result;
  }
}

/** Never replies; rejects as the runner does when the signal fires. */
export function hang(options: GenerateOptions | undefined): Promise<Reply> {
  return new Promise((_resolve, reject) => {
    options?.signal?.addEventListener('abort', () => reject(new HearthError('ENGINE_CANCELLED', 'the job was cancelled')));
  });
}

export const testTiming: PluginTiming = {
  ...defaultTiming,
  stopGraceMs: 200,
  restartDelayMs: 10,
  maxRestartDelayMs: 50,
  crashLimit: 3,
};

export function makeHost(
  plugins: readonly (Partial<PluginSettings> & { readonly name: string })[],
  overrides: { readonly timing?: Partial<PluginTiming>; readonly policy?: PluginHostOptions['policy'] } = {},
) {
  const bus = new FakeBus();
  const engine = new FakeEngine();
  const queue = new JobQueue({ capacity: 4 });
  const store = new MediaStore({ maxBytes: 1 << 24 });
  const skips = new Skips({ node: 'pi5' });
  const skipped: StreamEvent[] = [];
  skips.event$.subscribe((event) => skipped.push(event));
  const dispatcher = new Dispatcher({ store, skips, maxWaitingSegments: 4 });
  const host = new PluginHost({
    options: {
      node: 'pi5',
      plugins: plugins.map((settings) => ({ config: {}, memoryMb: 64, hangTimeoutMs: 10_000, ...settings })),
      policy: overrides.policy ?? (() => ({ priority: 0, deadlineMs: 30_000, settings: {}, partials: false })),
      requestPriority: 4,
      defaultDeadlineMs: 30_000,
      maxAudioSeconds: 30,
      timing: { ...testTiming, ...overrides.timing },
    },
    bus,
    engine,
    queue,
    dispatcher,
    log: pino({ level: 'silent' }),
  });
  let count = 0;
  const item = (media: DecodedMedia, stream: string) => ({
    id: `01ITEM${String(++count).padStart(20, '0')}`,
    stream,
    capturedTs: Date.now() / 1000,
    topic: `hearth/in/${stream}/x`,
    sha256: 'ab'.repeat(32),
    media: { ref: store.add(media) },
  });
  return {
    bus,
    engine,
    queue,
    store,
    skips,
    skipped,
    dispatcher,
    host,
    /** Puts a 2 x 1 picture in; returns the item's id. */
    frame: (stream = 'door'): string => {
      const fields = item({ type: 'image', image: { width: 2, height: 1, data: Uint8Array.of(1, 2, 3, 4, 5, 6) } }, stream);
      dispatcher.offer({ kind: 'frame', width: 2, height: 1, ...fields });
      return fields.id;
    },
    /** Puts four samples in; returns the item's id. */
    segment: (stream = 'mic'): string => {
      const fields = item({ type: 'audio', audio: { samples: Float32Array.of(0, 0.5, -0.5, 0) } }, stream);
      dispatcher.offer({ kind: 'segment', durationMs: 1, ...fields });
      return fields.id;
    },
    stop: async (): Promise<void> => {
      skips.stop();
      await host.stop();
    },
  };
}

export type Host = ReturnType<typeof makeHost>;

/** Directory for plugin modules written by a test. */
export function pluginDirectory() {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-plugins-'));
  return {
    write: (file: string, source: string): string => {
      const path = join(directory, file);
      writeFileSync(path, source);
      return path;
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** CommonJS source of a plugin: a manifest and the body of `start(ctx)`. */
export function pluginSource(manifest: Readonly<Record<string, unknown>>, startBody: string): string {
  const full = { name: 'probe', version: '1.0.0', apiVersion: '^1.0.0', description: 'A test.', ...manifest };
  return `module.exports = { manifest: ${JSON.stringify(full)}, async start(ctx) { ${startBody} } };`;
}

/** Waits for a condition; fails after 20 s. */
export async function until(condition: () => boolean, what = condition.toString()): Promise<void> {
  const end = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never became true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export async function failureOf(work: Promise<unknown>): Promise<{ code: unknown; message: string }> {
  try {
    await work;
  } catch (error) {
    return { code: (error as { code?: unknown }).code, message: (error as Error).message };
  }
  throw new Error('expected a rejection');
}
