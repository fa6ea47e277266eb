/**
 * Keeps one plugin running: starts it, hands it what it takes, starts it again with back-off when it ends, gives up on
 * it after too many crashes. Whatever happens to the plugin, each item handed in ends in an event and each request in
 * an answer.
 */
import { ulid } from 'ulid';
import type { PluginState, Request } from '../bus/bus';
import { HearthError } from '../errors';
import type { ModelInfo } from '../inference/types';
import { type Log, messageOf } from '../log';
import { takeMedia } from '../requests/media';
import type { Consumer, StreamItem } from '../streams/dispatcher';
import type { DecodedMedia } from '../streams/media-store';
import { skipReasonOf } from '../streams/skips';
import type { PluginManifest, RequestItem } from './api';
import { BackOff } from './back-off';
import type { FunctionRegistry } from './function-registry';
import { locatePlugin } from './locate-plugin';
import { checkManifest } from './manifest';
import { resolveConfig } from './plugin-config';
import { PluginProcess } from './plugin-process';
import { PluginServices } from './plugin-services';
import type { PluginHostDependencies, PluginSettings } from './ports';
import type { Registered } from './protocol';
import { errorEvent } from './stream-event';
import { itemTask, requestTask, type Task } from './task';
import { TopicRules } from './topic-rules';

interface Run {
  readonly process: PluginProcess;
  readonly services: PluginServices;
  readonly manifest: PluginManifest;
  readonly registered: Registered;
}

export interface PluginStatus extends PluginState {
  readonly name: string;
  readonly version?: string;
  readonly verbs: readonly string[];
}

/** Trying again cannot help: the same files and the same configuration would fail the same way. */
const finalCodes = ['PLUGIN_CONFIG_INVALID', 'PLUGIN_INCOMPATIBLE', 'PLUGIN_LOAD_FAILED', 'PLUGIN_MANIFEST_INVALID'];

function asHearthError(error: unknown): HearthError {
  return error instanceof HearthError ? error : new HearthError('INTERNAL', messageOf(error), { cause: error });
}

export class Supervisor {
  readonly name: string;
  readonly #settings: PluginSettings;
  readonly #dependencies: PluginHostDependencies;
  readonly #log: Log;
  readonly #backOff: BackOff;
  #run: Run | undefined;
  /** From its thread's first moment on: what has to be ended. */
  #process: PluginProcess | undefined;
  #model: ModelInfo | undefined;
  #state: PluginState = { state: 'starting', restarts: 0 };
  #timer: NodeJS.Timeout | undefined;
  #stopping: HearthError | undefined;
  /** Counts what ended a launch from outside: one that fails after that is nobody's crash. */
  #launches = 0;
  /** Settles what waits for the next run. */
  readonly #waiting = new Set<(run: Run | HearthError) => void>();
  /** What is registered with the daemon, and what ends it. A registration outlives a crash: items wait for the next run. */
  #registeredKey: string | undefined;
  #endItems: (() => void)[] = [];
  #endVerbs: (() => void)[] = [];
  #manifest: PluginManifest | undefined;

  constructor(
    settings: PluginSettings,
    dependencies: PluginHostDependencies,
    private readonly functions: FunctionRegistry,
  ) {
    this.name = settings.name;
    this.#settings = settings;
    this.#dependencies = dependencies;
    this.#log = dependencies.log.child({ ns: `plugin/${settings.name}` });
    this.#backOff = new BackOff(dependencies.options.timing);
  }

  get status(): PluginStatus {
    const manifest = this.#manifest;
    return {
      name: this.name,
      ...this.#state,
      ...(manifest !== undefined && { version: manifest.version }),
      verbs: this.#run?.registered.verbs ?? [],
    };
  }

  /** Starts it for this model, or again when it runs, waits for its next start or was given up on. */
  async start(model: ModelInfo): Promise<void> {
    await this.stop(new HearthError('PLUGIN_UNAVAILABLE', `plugin ${this.name} is being restarted`), false);
    this.#stopping = undefined;
    this.#backOff.reset();
    this.#model = model;
    await this.#launch();
  }

  /** Handlers in hand get a moment to end; what is still in hand then ends with `reason`. */
  async stop(reason: HearthError, final = true): Promise<void> {
    this.#stopping = reason;
    this.#launches++;
    clearTimeout(this.#timer);
    if (final) {
      this.#unregister();
      this.#settleWaiting(reason);
    }
    const process = this.#process;
    const run = this.#run;
    this.#run = undefined;
    if (process !== undefined) {
      if (run === undefined) process.fail(reason);
      else {
        const { stopGraceMs } = this.#dependencies.options.timing;
        await this.#idle(run, stopGraceMs);
        await process.stop(stopGraceMs, reason);
      }
      await process.ended;
    }
    if (final) this.#publish({ state: 'stopped', restarts: this.#state.restarts });
  }

  async #idle({ services }: Run, limitMs: number): Promise<void> {
    const end = performance.now() + limitMs;
    while (services.tasks.size > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async #launch(): Promise<void> {
    const model = this.#model;
    if (model === undefined || this.#stopping !== undefined) return;
    const launch = this.#launches;
    if (this.#state.state !== 'restarting') this.#publish({ state: 'starting', restarts: this.#state.restarts });
    try {
      // Two workers of one plugin at a time would publish over each other.
      await this.#process?.ended;
      if (this.#stopping !== undefined) return;
      await this.#open(model);
    } catch (error) {
      if (launch === this.#launches) this.#failed(asHearthError(error));
    }
  }

  async #open(model: ModelInfo): Promise<void> {
    const { options } = this.#dependencies;
    const { name, path, config: given, memoryMb, hangTimeoutMs } = this.#settings;
    const file = locatePlugin(name, path);
    let manifest: PluginManifest | undefined;
    let rules: TopicRules | undefined;
    const checked = <T>(value: T | undefined): T => {
      if (value === undefined)
        throw new HearthError('PLUGIN_FAILED', `plugin ${name}: expected nothing to be asked for before start`);
      return value;
    };
    const services: PluginServices = new PluginServices({
      ...this.#dependencies,
      model,
      log: this.#log,
      manifest: () => checked(manifest),
      rules: () => checked(rules),
      functions: this.functions,
      runFunction: (called, args, context) => process.rpc.call('callFunction', [called, args, context]),
      deliver: (filter, topic, payload) => process.rpc.call('message', [filter, topic, payload], [payload.buffer]),
    });
    const process: PluginProcess = new PluginProcess({
      name,
      file,
      limits: { memoryMb, hangTimeoutMs },
      methods: services.methods,
      log: this.#log,
      onFail: (reason) => {
        services.close(reason);
        if (this.#run?.process !== process) return;
        this.#run = undefined;
        this.#failed(reason);
      },
    });
    this.#process = process;
    void process.ended.then(() => {
      if (this.#process === process) this.#process = undefined;
    });
    const timer = setTimeout(
      () =>
        process.fail(
          new HearthError(
            'PLUGIN_TIMEOUT',
            `plugin ${name}: its start took more than ${options.timing.startTimeoutMs} ms`,
          ),
        ),
      options.timing.startTimeoutMs,
    );
    try {
      manifest = checkManifest(await process.rpc.call('load', []), name);
      const config = resolveConfig(manifest, given);
      rules = new TopicRules(manifest, config, { base: options.baseTopic, node: options.node });
      const registered = await process.rpc.call('start', [
        { config, node: options.node, baseTopic: options.baseTopic, model },
      ]);
      if (this.#stopping !== undefined) throw this.#stopping;
      this.#manifest = manifest;
      this.#register(registered);
      const run: Run = { process, services, manifest, registered };
      process.watch();
      this.#run = run;
      this.#publish({ state: 'running', restarts: this.#state.restarts });
      this.#settleWaiting(run);
    } catch (error) {
      process.fail(asHearthError(error));
      await process.ended;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #failed(reason: HearthError): void {
    if (this.#stopping !== undefined) return;
    const text = `${reason.code}: ${reason.message}`;
    const delayMs = finalCodes.includes(reason.code) ? undefined : this.#backOff.crashed();
    if (delayMs === undefined) {
      this.#log.error({ reason: text }, 'the plugin is quarantined');
      this.#publish({ state: 'quarantined', restarts: this.#state.restarts, reason: text });
      this.#unregisterItems();
      this.#settleWaiting(this.#unavailable());
      return;
    }
    this.#log.warn({ reason: text, delayMs: Math.round(delayMs) }, 'the plugin ended and is started again');
    this.#publish({ state: 'restarting', restarts: this.#state.restarts + 1, reason: text });
    this.#timer = setTimeout(() => void this.#launch(), delayMs);
  }

  #publish(state: PluginState): void {
    this.#state = state;
    this.#dependencies.bus.publishPluginState(this.name, state);
  }

  #unavailable(): HearthError {
    const { state, reason } = this.#state;
    return new HearthError(
      'PLUGIN_UNAVAILABLE',
      `plugin ${this.name} is ${state}${reason === undefined ? '' : ` (${reason})`}`,
    );
  }

  #register(registered: Registered): void {
    const key = JSON.stringify(registered);
    if (this.#registeredKey === key) return;
    this.#unregister();
    const { bus, dispatcher, options } = this.#dependencies;
    const { name } = this;
    try {
      for (const verb of registered.verbs)
        this.#endVerbs.push(bus.onRequest(verb, (request) => this.#request(request)));
    } catch (cause) {
      this.#unregister();
      throw new HearthError('PLUGIN_MANIFEST_INVALID', `verbs: ${messageOf(cause)}`, { cause });
    }
    for (const kind of registered.consumes) {
      const consumer: Consumer = {
        name,
        consumes: [kind],
        streams: (stream) => options.policy(kind, stream).plugins?.includes(name) !== false,
        handle: async (item, media) => await this.#item(item, media),
      };
      this.#endItems.push(dispatcher.register(consumer));
    }
    this.#registeredKey = key;
  }

  /** Items are for others then; verbs go on to be answered, with the reason. */
  #unregisterItems(): void {
    for (const end of this.#endItems.splice(0)) end();
    this.#registeredKey = undefined;
  }

  #unregister(): void {
    this.#unregisterItems();
    for (const end of this.#endVerbs.splice(0)) end();
  }

  #settleWaiting(outcome: Run | HearthError): void {
    for (const settle of this.#waiting) settle(outcome);
    this.#waiting.clear();
  }

  /** The next run, waited for until `deadlineAt` (Unix time in milliseconds). */
  async #nextRun(deadlineAt: number): Promise<Run> {
    let timer: NodeJS.Timeout | undefined;
    const outcome = await new Promise<Run | HearthError>((resolve) => {
      this.#waiting.add(resolve);
      const late = (): void => {
        this.#waiting.delete(resolve);
        resolve(
          new HearthError(
            'JOB_DEADLINE',
            `plugin ${this.name} was still ${this.#state.state} at the deadline of the item`,
          ),
        );
      };
      timer = setTimeout(late, Math.max(0, deadlineAt - Date.now()));
    });
    clearTimeout(timer);
    if (outcome instanceof HearthError) throw outcome;
    return outcome;
  }

  async #item(item: StreamItem, media: DecodedMedia): Promise<void> {
    const { options } = this.#dependencies;
    const policy = options.policy(item.kind, item.stream);
    const task = itemTask(item, media, policy);
    const picture =
      media.type === 'video' ? media.frames.at(-1)?.image : media.type === 'image' ? media.image : undefined;
    if (picture !== undefined) this.#dependencies.onPicture?.(item.stream, picture);
    try {
      // Not a turn later where it can be now: a stop in between would not know of the item.
      const run = this.#run ?? (await this.#nextRun(task.deadlineAt));
      await this.#perform(run, task, () => run.process.rpc.call('item', [{ ...item, settings: policy.settings }]));
    } catch (error) {
      const failure = asHearthError(error);
      // Only what nothing came out of can be called skipped, or what its own speaker has interrupted.
      const untouched = task.stream?.emitted.size === 0 || failure.code === 'BARGE_IN';
      if (skipReasonOf(failure) !== undefined && untouched) throw failure;
      this.#publishError(item, failure);
    }
  }

  async #request(request: Request): Promise<unknown> {
    const { options } = this.#dependencies;
    if (this.#run === undefined) throw this.#unavailable();
    const { payload, image, audio } = await takeMedia(request.payload, options.maxAudioSeconds);
    const run = this.#run;
    if (run === undefined) throw this.#unavailable();
    const item: RequestItem = {
      kind: 'request',
      id: request.id,
      verb: request.verb,
      payload,
      ...(image !== undefined && { image: { ref: ulid() } }),
      ...(audio !== undefined && { audio: { ref: ulid() } }),
    };
    const parts = { ...(image !== undefined && { image }), ...(audio !== undefined && { audio }) };
    const task = requestTask(
      item,
      parts,
      options.requestPriority,
      request.receivedTs * 1000 + options.defaultDeadlineMs,
    );
    return await this.#perform(run, task, () => run.process.rpc.call('request', [item]));
  }

  async #perform<T>({ process, services }: Run, task: Task, call: () => Promise<T>): Promise<T> {
    const { handlerTimeoutMs } = this.#dependencies.options.timing;
    const end = services.tasks.add(task);
    const timer = setTimeout(
      () =>
        process.fail(
          new HearthError('PLUGIN_TIMEOUT', `plugin ${this.name}: a handler took more than ${handlerTimeoutMs} ms`),
        ),
      handlerTimeoutMs,
    );
    try {
      return await call();
    } finally {
      clearTimeout(timer);
      end();
    }
  }

  #publishError(item: StreamItem, error: HearthError): void {
    const { bus, options } = this.#dependencies;
    this.#log.warn(
      { stream: item.stream, item: item.id, reason: `${error.code}: ${error.message}` },
      'an item ended in an error',
    );
    const event = errorEvent(error.toJSON(), item, {
      id: item.id,
      node: options.node,
      plugin: this.name,
      ts: Date.now() / 1000,
    });
    bus
      .publishEvent(event)
      .catch((reason: unknown) =>
        this.#log.error({ item: item.id, reason: messageOf(reason) }, 'an error event did not get out'),
      );
  }
}
