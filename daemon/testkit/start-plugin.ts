/** One plugin, started as the daemon starts it but in the process of the test. */
import type { StreamEvent } from '../events';
import { createLog } from '../log';
import type {
  CallContext,
  ClipItem,
  EmitFields,
  FrameItem,
  FunctionDeclaration,
  ModelInfo,
  Plugin,
  PluginGenerateRequest,
  RequestItem,
  SegmentItem,
} from '../plugins/api';
import { PluginError } from '../plugins/api';
import { FunctionRegistry } from '../plugins/function-registry';
import { checkManifest } from '../plugins/manifest';
import type { MetricDefinition } from '../plugins/metric-definition';
import { resolveConfig } from '../plugins/plugin-config';
import { PluginServices } from '../plugins/plugin-services';
import { defaultTiming, type PluginHostOptions, type StreamPolicy } from '../plugins/ports';
import type { HostMethods, HostNotices, MediaPart, WorkerMethods, WorkerNotices } from '../plugins/protocol';
import { type Methods, Rpc, type WireError } from '../plugins/rpc';
import { PluginStore } from '../plugins/storage';
import { itemTask, requestTask, type Task } from '../plugins/task';
import { TopicRules } from '../plugins/topic-rules';
import { WorkerSide } from '../plugins/worker-side';
import { FakeEngine, type Reply } from './fake-engine';
import { frame, model } from './items';
import { MemoryBus } from './memory-bus';
import { portPair } from './port-pair';

/** A function that another plugin has registered. */
export interface OtherFunction {
  readonly declaration: FunctionDeclaration;
  readonly run: (args: Readonly<Record<string, unknown>>, context: CallContext) => unknown;
}

export interface StartOptions {
  readonly config?: Readonly<Record<string, unknown>>;
  /** What the model says, one after the other. */
  readonly replies?: readonly Reply[];
  /** Replaces `replies`. */
  readonly engine?: FakeEngine;
  readonly bus?: MemoryBus;
  readonly model?: ModelInfo;
  /** What `ctx.functions` and `ctx.callFunction` find besides its own. */
  readonly functions?: readonly OtherFunction[];
  /** What it kept of an earlier run: JSON values by key. */
  readonly storage?: Readonly<Record<string, unknown>>;
}

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

const options: PluginHostOptions = {
  node: 'pi5',
  baseTopic: 'hearth',
  plugins: [],
  policy: () => policy,
  requestPriority: 4,
  defaultDeadlineMs: 60_000,
  maxAudioSeconds: 30,
  maxFrameBytes: 2 << 20,
  timing: defaultTiming,
};
const policy: StreamPolicy = { priority: 0, deadlineMs: 60_000, settings: {}, partials: false };
const image: MediaPart = { type: 'image', image: { width: 2, height: 2, data: new Uint8Array(12) } };
const audio: MediaPart = { type: 'audio', audio: { samples: new Float32Array(320) } };
const video: MediaPart = { type: 'video', frames: [{ image: image.image, timeMs: 0 }] };

const toError = ({ code, message, retryable }: WireError): PluginError =>
  new PluginError(code ?? 'INTERNAL', message, { retryable });

export type RunningPlugin = Awaited<ReturnType<typeof startPlugin>>;

/**
 * Checks manifest and configuration, and starts the plugin. Rejects with `PLUGIN_MANIFEST_INVALID`, `PLUGIN_INCOMPATIBLE`,
 * `PLUGIN_CONFIG_INVALID` or what `start` throws.
 */
export async function startPlugin<Config>(plugin: Plugin<Config>, given: StartOptions = {}) {
  const bus = given.bus ?? new MemoryBus();
  const engine = given.engine ?? new FakeEngine(given.replies);
  const info = given.model ?? model;
  const logged: LogLine[] = [];
  const log = createLog({
    level: 'debug',
    destination: { write: (line) => void logged.push(JSON.parse(line) as LogLine) },
  });
  let stored = JSON.stringify(given.storage ?? {});
  const store = new PluginStore(
    {
      read: async () => stored,
      write: async (text) => {
        stored = text;
      },
      setAside: async () => undefined,
    },
    log,
  );
  const metrics: { name: string; value: number; labels: Readonly<Record<string, string>> }[] = [];
  const definitions: MetricDefinition[] = [];
  const jobs: PluginGenerateRequest[] = [];
  const emitted: EmitFields[] = [];
  const failures: WireError[] = [];
  const called: { name: string; args: Readonly<Record<string, unknown>>; context: CallContext }[] = [];
  const registry = new FunctionRegistry();
  for (const { declaration, run } of given.functions ?? [])
    registry.register('another', declaration, async (args, context) => await run(args, context));

  const [hostPort, pluginPort] = portPair();
  const manifest = checkManifest(JSON.parse(JSON.stringify(plugin.manifest)), plugin.manifest.name);
  const config = resolveConfig(manifest, given.config ?? {});
  const rules = new TopicRules(manifest, config, { base: options.baseTopic, node: options.node });
  const services: PluginServices = new PluginServices({
    options,
    bus,
    engine,
    queue: { submit: async ({ run, signal }) => await run(signal ?? new AbortController().signal) },
    dispatcher: { register: () => () => undefined },
    stateDirectory: '',
    log,
    model: info,
    manifest: () => manifest,
    rules: () => rules,
    store,
    onJob: () => undefined,
    functions: registry,
    runFunction: async (name, args, context) => await host.call('callFunction', [name, args, context]),
    deliver: async (filter, topic, payload) => await host.call('message', [filter, topic, payload]),
  });
  const recorded: HostMethods = {
    ...services.methods,
    generate: async (request) => {
      jobs.push(request);
      return await services.methods.generate(request);
    },
    emit: async (fields) => {
      await services.methods.emit(fields);
      emitted.push(fields);
    },
    callFunction: async (name, args, context) => {
      called.push({ name, args, context });
      return await services.methods.callFunction(name, args, context);
    },
    closeFrame: async (id, error) => {
      if (error !== undefined) failures.push(error);
      await services.methods.closeFrame(id, error);
    },
  };
  const notices: HostNotices = {
    pong: () => undefined,
    log: (severity, message, fields) => log[severity]({ fields }, message),
    metric: (definition) => void definitions.push(definition),
    measure: (name, value, labels) => void metrics.push({ name, value, labels }),
  };
  const host: Rpc<WorkerMethods, WorkerNotices> = new Rpc(hostPort, {
    methods: recorded as unknown as Methods,
    notices: notices as unknown as Methods,
    toError,
    onMalformed: (reason) => log.error(reason),
  });
  const side = new WorkerSide(
    async () => plugin as Plugin,
    () => rpc,
  );
  const rpc: Rpc<HostMethods, HostNotices> = new Rpc(pluginPort, {
    methods: side.methods as unknown as Methods,
    notices: { ping: () => undefined },
    toError,
    onMalformed: (reason) => log.error(reason),
  });
  await host.call('load', []);
  const { node, baseTopic } = options;
  const { consumes, verbs } = await host.call('start', [{ config, node, baseTopic, model: info }]);

  const hold = async <T>(task: Task, work: () => Promise<T>): Promise<T> => {
    const end = services.tasks.add(task);
    try {
      return await work();
    } finally {
      end();
    }
  };
  const hand = async (item: FrameItem | SegmentItem | ClipItem, media: MediaPart): Promise<void> =>
    await hold(itemTask(item, media, policy), async () => await host.call('item', [item]));

  return {
    bus,
    engine,
    /** What it registered handlers for. */
    consumes,
    verbs,
    /** What it asked `ctx.generate` for; `engine.jobs` has the same with pictures and sounds put in. */
    jobs,
    /** What it gave `ctx.emit`; `events` has the events that became of it. */
    emitted,
    get events(): readonly StreamEvent[] {
      return bus.events;
    },
    published: bus.published,
    logged,
    warnings: (): LogLine[] => logged.filter(({ level }) => level === 'warn'),
    /** What ended frames of the plugin's own. */
    failures,
    /** The functions it has registered. */
    functions: (): readonly FunctionDeclaration[] => registry.list(manifest.name),
    /** Runs one of them, as `function-calls` does. */
    call: async (name: string, args: Readonly<Record<string, unknown>>, from: Partial<CallContext> = {}) =>
      await registry.call(name, args, { id: 'c1', source: 'text', ...from }),
    /** What it asked `ctx.callFunction` for. */
    called,
    /** What its metrics were told, in order. */
    metrics,
    definitions,
    /** What it keeps. */
    stored: (): Readonly<Record<string, unknown>> => JSON.parse(stored) as Record<string, unknown>,
    /** Topic filters it subscribed to. */
    filters: (): string[] => bus.subscriptions.map(({ filter }) => filter),
    /** Hands it an item; resolves when its handler is done, and rejects as that does. */
    frame: async (item: Partial<FrameItem> = {}): Promise<void> => await hand({ ...frame, ...item }, image),
    segment: async (item: SegmentItem): Promise<void> => await hand(item, audio),
    clip: async (item: ClipItem): Promise<void> => await hand(item, video),
    /** Resolves to what its handler returns. */
    request: async (item: RequestItem): Promise<unknown> => {
      const parts = { image: image, audio: audio };
      const task = requestTask(item, parts, options.requestPriority, Date.now() + options.defaultDeadlineMs);
      return await hold(task, async () => await host.call('request', [item]));
    },
    /** A message from outside. Resolves when its handlers are done, and rejects as the first of them that fails does. */
    receive: async (topic: string, payload: unknown): Promise<void> => {
      const text = typeof payload === 'string' ? payload : JSON.stringify(payload);
      for (const filter of bus.matching(topic))
        await host.call('message', [filter, topic, new Uint8Array(Buffer.from(text))]);
    },
    /** The first event of a kind that came, or is still to come. */
    event: async (kind: StreamEvent['kind']): Promise<StreamEvent> => await bus.event(kind),
    stop: async (): Promise<void> => await host.call('stop', []),
  };
}
