/** One run of a plugin on its way: loaded and checked first, so that it is known to be good before it is started. */
import { HearthError } from '../errors';
import type { ModelInfo } from '../inference/types';
import type { Log } from '../log';
import type { PluginManifest } from './api';
import type { FunctionRegistry } from './function-registry';
import type { Isolation } from './isolate';
import { checkManifest } from './manifest';
import { resolveConfig } from './plugin-config';
import { PluginProcess } from './plugin-process';
import { PluginServices } from './plugin-services';
import type { MetricSink, PluginHostDependencies, PluginSettings } from './ports';
import type { Registered, StartSetup } from './protocol';
import type { PluginStore } from './storage';
import { TopicRules } from './topic-rules';

export interface Loaded {
  readonly process: PluginProcess;
  readonly services: PluginServices;
  readonly manifest: PluginManifest;
  readonly setup: StartSetup;
}

export interface Run extends Loaded {
  readonly registered: Registered;
}

export interface LaunchOptions {
  readonly dependencies: PluginHostDependencies;
  readonly settings: PluginSettings;
  readonly file: string;
  readonly model: ModelInfo;
  readonly store: PluginStore;
  readonly metrics: MetricSink | undefined;
  readonly functions: FunctionRegistry;
  /** Hears of a process before anything runs in it. */
  readonly onProcess: (process: PluginProcess) => void;
  readonly onFail: (process: PluginProcess, reason: HearthError) => void;
  readonly onJob: () => void;
  /** The run it takes over from, while it does: kept for longer, runs would hold on to each other without end. */
  readonly predecessor: () => PluginServices | undefined;
  readonly log: Log;
}

/** Ends `process` when `work` takes too long; rejects as `work` does. */
async function inTime<T>(process: PluginProcess, name: string, limitMs: number, work: () => Promise<T>): Promise<T> {
  const late = (): void =>
    process.fail(new HearthError('PLUGIN_TIMEOUT', `plugin ${name}: its start took more than ${limitMs} ms`));
  const timer = setTimeout(late, limitMs);
  try {
    return await work();
  } finally {
    clearTimeout(timer);
  }
}

/** Rejects with what is wrong with the module, its manifest or its configuration; nothing of it runs any more then. */
export async function load(options: LaunchOptions): Promise<Loaded> {
  const { dependencies, settings, file, model, log } = options;
  const { name, memoryMb, hangTimeoutMs } = settings;
  const { node, baseTopic, timing } = dependencies.options;
  let process: PluginProcess | undefined;
  let manifest: PluginManifest | undefined;
  let rules: TopicRules | undefined;
  const checked = <T>(value: T | undefined): T => {
    if (value === undefined)
      throw new HearthError('PLUGIN_FAILED', `plugin ${name}: expected nothing to be asked for before start`);
    return value;
  };
  const services: PluginServices = new PluginServices({
    ...dependencies,
    model,
    log,
    store: options.store,
    functions: options.functions,
    onJob: options.onJob,
    predecessor: options.predecessor,
    manifest: () => checked(manifest),
    rules: () => checked(rules),
    runFunction: async (called, args, context) =>
      await checked(process).rpc.call('callFunction', [called, args, context]),
    deliver: async (filter, topic, payload) =>
      await checked(process).rpc.call('message', [filter, topic, payload], [payload.buffer]),
  });
  const open = async (isolation: Isolation): Promise<PluginProcess> => {
    const opened: PluginProcess = new PluginProcess({
      name,
      file,
      isolation,
      limits: { memoryMb, hangTimeoutMs },
      methods: services.methods,
      metrics: options.metrics,
      log,
      onFail: (reason) => {
        if (process !== opened) return;
        services.close(reason);
        options.onFail(opened, reason);
      },
    });
    process = opened;
    options.onProcess(opened);
    const loading = async (): Promise<unknown> => await opened.rpc.call('load', []);
    manifest = checkManifest(await inTime(opened, name, timing.startTimeoutMs, loading), name);
    return opened;
  };
  try {
    let opened = await open(settings.isolation ?? 'worker');
    // What it wants to run in it says itself, which takes having loaded it somewhere.
    if (settings.isolation === undefined && manifest?.isolation === 'process') {
      process = undefined;
      opened.fail(new HearthError('PLUGIN_UNAVAILABLE', `plugin ${name} moves into a process`));
      await opened.ended;
      opened = await open('process');
    }
    const config = resolveConfig(checked(manifest), settings.config);
    rules = new TopicRules(checked(manifest), config, { base: baseTopic, node });
    return { process: opened, services, manifest: checked(manifest), setup: { config, node, baseTopic, model } };
  } catch (error) {
    const failed = process;
    failed?.fail(error instanceof HearthError ? error : new HearthError('PLUGIN_FAILED', String(error)));
    await failed?.ended;
    throw error;
  }
}

/** What the plugin does in `start`. Rejects when it fails at that; the process is then still to be ended. */
export async function begin(loaded: Loaded, name: string, limitMs: number): Promise<Run> {
  const starting = async (): Promise<Registered> => await loaded.process.rpc.call('start', [loaded.setup]);
  return { ...loaded, registered: await inTime(loaded.process, name, limitMs, starting) };
}
