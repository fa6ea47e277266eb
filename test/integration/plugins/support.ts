/** A plugin host with real workers, queue, dispatcher and media store; bus and engine are in memory and do as told. */
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FakeEngine, MemoryBus } from '@hearth/testkit';
import pino from 'pino';
import type { StreamEvent } from '../../../daemon/events';
import { PluginHost } from '../../../daemon/plugins/host';
import {
  defaultTiming,
  type PluginHostDependencies,
  type PluginSettings,
  type PluginTiming,
  type StreamPolicy,
} from '../../../daemon/plugins/ports';
import { BargeIn } from '../../../daemon/streams/barge-in';
import { Dispatcher } from '../../../daemon/streams/dispatcher';
import { JobQueue } from '../../../daemon/streams/job-queue';
import { type DecodedMedia, MediaStore } from '../../../daemon/streams/media-store';
import { Skips } from '../../../daemon/streams/skips';

/** Waits for a condition; fails after 30 s. */
export async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never became true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const quick: PluginTiming = {
  ...defaultTiming,
  startTimeoutMs: 20_000,
  stopGraceMs: 200,
  restartDelayMs: 10,
  maxRestartDelayMs: 20,
  crashLimit: 3,
};

const policy: StreamPolicy = { priority: 0, deadlineMs: 60_000, settings: {}, partials: false };

export interface MakeOptions
  extends Partial<Pick<PluginHostDependencies, 'catalogue' | 'metricsOf' | 'stateDirectory'>> {
  readonly timing?: Partial<PluginTiming>;
  readonly streams?: Readonly<Record<string, Partial<StreamPolicy>>>;
  readonly queueCapacity?: number;
}

export type Made = ReturnType<typeof make>;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

export function make(
  plugins: readonly (Partial<PluginSettings> & { readonly name: string })[],
  options: MakeOptions = {},
) {
  const bus = new MemoryBus();
  const engine = new FakeEngine();
  engine.reply = 'a reply';
  const store = new MediaStore({ maxBytes: 1 << 20 });
  const skips = new Skips({ node: 'pi5' });
  skips.event$.subscribe((event) => bus.events.push(event));
  const dispatcher = new Dispatcher({ store, skips, maxWaitingSegments: 4 });
  const queue = new JobQueue({ capacity: options.queueCapacity ?? 16 });
  const bargeIn = new BargeIn(queue);
  const dependencies: PluginHostDependencies = {
    options: {
      node: 'pi5',
      baseTopic: 'hearth',
      plugins: plugins.map((plugin) => ({ config: {}, memoryMb: 64, hangTimeoutMs: 20_000, ...plugin })),
      policy: (_kind, stream) => ({ ...policy, ...options.streams?.[stream] }),
      requestPriority: 4,
      defaultDeadlineMs: 60_000,
      maxAudioSeconds: 30,
      maxFrameBytes: 100_000,
      timing: { ...quick, ...options.timing },
    },
    bus,
    engine,
    queue,
    dispatcher,
    bargeIn,
    stateDirectory: options.stateDirectory ?? temporaryDirectory('hearth-state-'),
    ...(options.catalogue && { catalogue: options.catalogue }),
    ...(options.metricsOf && { metricsOf: options.metricsOf }),
    log: pino({ level: 'silent' }),
  };
  const host = new PluginHost(dependencies);
  cleanups.push(async () => {
    await host.stop();
    skips.stop();
  });

  const offer = (kind: 'frame' | 'segment', stream: string, media: DecodedMedia, id: string): void => {
    const base = {
      id,
      stream,
      capturedTs: Date.now() / 1000,
      topic: `hearth/in/${stream}/${kind}`,
      sha256: 'c'.repeat(64),
      media: { ref: store.add(media) },
    };
    dispatcher.offer(kind === 'frame' ? { ...base, kind, width: 1, height: 1 } : { ...base, kind, durationMs: 1 });
  };
  let nextId = 0;
  return {
    host,
    bus,
    engine,
    store,
    dispatcher,
    queue,
    bargeIn,
    /** Starts the host with a model that is ready, and waits until `name` is in a state it stays in. */
    async start(name: string): Promise<void> {
      host.start();
      engine.ready();
      await until(() => ['running', 'quarantined'].includes(bus.state(name) ?? ''));
    },
    /** One red pixel. Returns the id. */
    frame(stream = 'front'): string {
      const id = `frame-${nextId++}`;
      offer('frame', stream, { type: 'image', image: { width: 1, height: 1, data: Uint8Array.of(255, 0, 0) } }, id);
      return id;
    },
    /** Two samples. Returns the id. */
    segment(stream = 'kitchen'): string {
      const id = `segment-${nextId++}`;
      offer('segment', stream, { type: 'audio', audio: { samples: Float32Array.of(0.25, -0.5) } }, id);
      return id;
    },
    /** The one event an item ended in. */
    async eventOf(id: string): Promise<StreamEvent> {
      await until(() => bus.events.some((event) => event.id === id));
      const found = bus.events.filter((event) => event.id === id);
      expect(found).toHaveLength(1);
      return found[0] as StreamEvent;
    },
  };
}

/** One that is gone after the test. */
export function temporaryDirectory(prefix: string): string {
  const directory = mkdtempSync(join(tmpdir(), prefix));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Writes a plugin module into a directory of its own; returns the file. */
export function write(source: string, file = 'index.mjs'): string {
  const directory = temporaryDirectory('hearth-plugin-');
  writeFileSync(join(directory, file), source);
  return join(directory, file);
}

/** Replaces a file as an installation does: by a rename. */
export function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

/** An ES module of a plugin named `test`. */
export function source(body: string, manifest: Readonly<Record<string, unknown>> = {}): string {
  const full = { name: 'test', version: '1.0.0', apiVersion: '^1.0.0', description: 'for a test', ...manifest };
  return `export default { manifest: ${JSON.stringify(full)}, ${body} };`;
}

export const withTest = (
  body: string,
  manifest: Readonly<Record<string, unknown>> = {},
  options: MakeOptions & Partial<PluginSettings> = {},
): Made => make([{ name: 'test', path: write(source(body, manifest)), ...settingsOf(options) }], options);

function settingsOf({ config, memoryMb, hangTimeoutMs, isolation }: Partial<PluginSettings>): Partial<PluginSettings> {
  return {
    ...(config && { config }),
    ...(memoryMb !== undefined && { memoryMb }),
    ...(hangTimeoutMs !== undefined && { hangTimeoutMs }),
    ...(isolation !== undefined && { isolation }),
  };
}

/** Code and message of what it rejects with. */
export async function failureOf(work: Promise<unknown>): Promise<{ readonly code: unknown; readonly message: string }> {
  try {
    await work;
  } catch (error) {
    return { code: (error as { code?: unknown }).code, message: (error as Error).message };
  }
  throw new Error('expected a rejection');
}
