/**
 * Keeps one plugin running: starts it, hands it what it takes, starts it again with back-off when it ends, gives up on
 * it after too many crashes, and lets a new run take over from the one before without losing anything. Whatever happens
 * to the plugin, each item handed in ends in an event and each request in an answer.
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
import { begin, type LaunchOptions, type Loaded, load, type Run } from './launch';
import { locatePlugin } from './locate-plugin';
import type { PluginProcess } from './plugin-process';
import type { PluginServices } from './plugin-services';
import type { MetricSink, PluginHostDependencies, PluginSettings, PluginStats } from './ports';
import type { Registered } from './protocol';
import { PluginStore, storageFile } from './storage';
import { errorEvent } from './stream-event';
import { itemTask, requestTask, type Task } from './task';

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
  readonly #dependencies: PluginHostDependencies;
  readonly #log: Log;
  readonly #backOff: BackOff;
  readonly #store: PluginStore;
  readonly #metrics: MetricSink | undefined;
  readonly #totals = { jobs: 0, handled: 0, errors: 0, handlerSeconds: 0 };
  #settings: PluginSettings;
  #run: Run | undefined;
  /** From their first moment on: what has to be ended. Two at a time only while one takes over from the other. */
  readonly #processes = new Set<PluginProcess>();
  /** Of a run that ends so that another can take over: requests wait for that, as items do. */
  #ending: PluginServices | undefined;
  #model: ModelInfo | undefined;
  #state: PluginState = { state: 'starting', restarts: 0 };
  #timer: NodeJS.Timeout | undefined;
  #stopping: HearthError | undefined;
  /** Counts what ended a launch from outside: one that fails after that is nobody's crash. */
  #launches = 0;
  /** Settles what waits for the next run. */
  readonly #waiting = new Set<(run: Run | HearthError) => void>();
  /** What is registered with the daemon, and what ends it. A registration outlives a run: items wait for the next one. */
  #itemsKey: string | undefined;
  #verbsKey: string | undefined;
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
    this.#store = new PluginStore(storageFile(dependencies.stateDirectory, settings.name), this.#log);
    this.#metrics = dependencies.metricsOf?.(settings.name, (reason) =>
      this.#log.warn({ reason }, 'a metric of the plugin is not taken'),
    );
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

  get stats(): PluginStats {
    return {
      ...this.#totals,
      restarts: this.#state.restarts,
      heapBytes: this.#run?.process.heapBytes ?? 0,
    };
  }

  /**
   * Starts it for this model with these settings. One that runs goes on until the new run has been loaded and what it
   * has in hand is done, `drainLimitMs` at most; then the new one takes over. Rejects, with the old one still running, when
   * the new one cannot be loaded.
   */
  async start(model: ModelInfo, settings: PluginSettings = this.#settings): Promise<void> {
    const running = this.#run;
    const sameModel = this.#model === undefined || this.#model === model;
    this.#settings = settings;
    this.#model = model;
    this.#backOff.reset();
    if (running !== undefined) {
      try {
        await this.#replace(running, model);
        return;
      } catch (error) {
        this.#log.error({ reason: messageOf(error) }, 'the new run of the plugin cannot be loaded');
        // What was started for another model is of no use any more.
        if (sameModel) throw error;
      }
    }
    await this.stop(new HearthError('PLUGIN_UNAVAILABLE', `plugin ${this.name} is being restarted`), false);
    this.#stopping = undefined;
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
    const run = this.#run;
    this.#run = undefined;
    for (const process of this.#processes) if (process !== run?.process) process.fail(reason);
    if (run !== undefined) await this.#end(run, this.#dependencies.options.timing.stopGraceMs, reason);
    await this.#gone();
    if (!final) return;
    // Those of an earlier run may still have been waiting for one that takes them over.
    this.functions.endAll(this.name);
    this.#publish({ state: 'stopped', restarts: this.#state.restarts });
  }

  /** The same for a plugin that is switched off: what it has in hand may take as long as for a new run. */
  async retire(): Promise<void> {
    const run = this.#run;
    this.#unregister();
    this.functions.endAll(this.name);
    if (run !== undefined) await this.#idle(run, this.#dependencies.options.timing.drainLimitMs);
    await this.stop(new HearthError('PLUGIN_UNAVAILABLE', `plugin ${this.name} is switched off`));
    this.#metrics?.clear();
  }

  async #replace(old: Run, model: ModelInfo): Promise<void> {
    const { drainLimitMs, stopGraceMs } = this.#dependencies.options.timing;
    const next = await load(this.#launchOptions(model));
    const abandon = async (): Promise<void> => {
      next.process.fail(new HearthError('PLUGIN_UNAVAILABLE', `plugin ${this.name}: this run is not needed`));
      await next.process.ended;
    };
    // It ended meanwhile: what follows from that starts the new code anyway.
    if (this.#run !== old) {
      await abandon();
      return;
    }
    this.#log.info('a new run of the plugin takes over');
    this.#publish({ state: 'starting', restarts: this.#state.restarts });
    this.#ending = old.services;
    this.#run = undefined;
    old.services.hold();
    try {
      await this.#idle(old, drainLimitMs);
      // Until then they ran there: what is in hand may need them.
      old.services.holdCalls();
      const reason = `plugin ${this.name} was restarted before it was done, after ${drainLimitMs} ms`;
      await this.#end(old, stopGraceMs, new HearthError('PLUGIN_UNAVAILABLE', reason));
      if (this.#stopping !== undefined) await abandon();
      else await this.#begin(next);
    } catch (error) {
      if (this.#stopping === undefined) this.#failed(asHearthError(error));
    } finally {
      old.services.release();
      this.#ending = undefined;
    }
  }

  async #idle({ services }: Run, limitMs: number): Promise<void> {
    const end = performance.now() + limitMs;
    while (!services.idle && performance.now() < end && this.#stopping === undefined)
      await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async #end(run: Run, graceMs: number, reason: HearthError): Promise<void> {
    const limit = performance.now() + graceMs;
    while (!run.services.idle && performance.now() < limit) await new Promise((resolve) => setTimeout(resolve, 20));
    await run.process.stop(graceMs, reason);
    await run.process.ended;
  }

  async #gone(): Promise<void> {
    await Promise.all(Array.from(this.#processes, (process) => process.ended));
  }

  async #launch(): Promise<void> {
    const model = this.#model;
    if (model === undefined || this.#stopping !== undefined) return;
    const launch = this.#launches;
    if (this.#state.state !== 'restarting') this.#publish({ state: 'starting', restarts: this.#state.restarts });
    try {
      // Two workers of one plugin at a time would publish over each other.
      await this.#gone();
      if (this.#stopping !== undefined) return;
      await this.#begin(await load(this.#launchOptions(model)));
    } catch (error) {
      if (launch === this.#launches) this.#failed(asHearthError(error));
    }
  }

  #launchOptions(model: ModelInfo): LaunchOptions {
    const { name, path } = this.#settings;
    return {
      dependencies: this.#dependencies,
      settings: this.#settings,
      file: locatePlugin(name, path),
      model,
      store: this.#store,
      metrics: this.#metrics,
      functions: this.functions,
      predecessor: () => this.#ending,
      log: this.#log,
      onProcess: (process) => {
        this.#processes.add(process);
        void process.ended.then(() => this.#processes.delete(process));
      },
      onFail: (process, reason) => {
        if (this.#run?.process !== process) return;
        this.#run = undefined;
        this.#failed(reason);
      },
      onJob: () => this.#totals.jobs++,
    };
  }

  async #begin(loaded: Loaded): Promise<void> {
    const { process } = loaded;
    try {
      const run = await begin(loaded, this.name, this.#dependencies.options.timing.startTimeoutMs);
      if (this.#stopping !== undefined) throw this.#stopping;
      this.#manifest = run.manifest;
      this.#register(run.registered);
      process.watch();
      this.#run = run;
      this.#publish({ state: 'running', restarts: this.#state.restarts });
      this.#settleWaiting(run);
    } catch (error) {
      process.fail(asHearthError(error));
      await process.ended;
      throw error;
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
    this.#registerVerbs(registered.verbs);
    this.#registerItems(registered.consumes);
  }

  #registerVerbs(verbs: Registered['verbs']): void {
    const key = JSON.stringify(verbs);
    if (this.#verbsKey === key) return;
    this.#unregisterVerbs();
    try {
      for (const verb of verbs)
        this.#endVerbs.push(this.#dependencies.bus.onRequest(verb, (request) => this.#request(request)));
    } catch (cause) {
      this.#unregister();
      throw new HearthError('PLUGIN_MANIFEST_INVALID', `verbs: ${messageOf(cause)}`, { cause });
    }
    this.#verbsKey = key;
  }

  #registerItems(kinds: Registered['consumes']): void {
    const key = JSON.stringify(kinds);
    if (this.#itemsKey === key) return;
    this.#unregisterItems();
    const { dispatcher, options } = this.#dependencies;
    const { name } = this;
    for (const kind of kinds) {
      const consumer: Consumer = {
        name,
        consumes: [kind],
        streams: (stream) => options.policy(kind, stream).plugins?.includes(name) !== false,
        handle: async (item, media) => await this.#item(item, media),
      };
      this.#endItems.push(dispatcher.register(consumer));
    }
    this.#itemsKey = key;
  }

  /** Items are for others then; verbs go on to be answered, with the reason. */
  #unregisterItems(): void {
    for (const end of this.#endItems.splice(0)) end();
    this.#itemsKey = undefined;
  }

  #unregisterVerbs(): void {
    for (const end of this.#endVerbs.splice(0)) end();
    this.#verbsKey = undefined;
  }

  #unregister(): void {
    this.#unregisterItems();
    this.#unregisterVerbs();
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
    const deadlineAt = request.receivedTs * 1000 + options.defaultDeadlineMs;
    if (this.#run === undefined && this.#ending === undefined) throw this.#unavailable();
    const { payload, image, audio } = await takeMedia(request.payload, options.maxAudioSeconds);
    const run = this.#run ?? (this.#ending !== undefined ? await this.#nextRun(deadlineAt) : undefined);
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
    const task = requestTask(item, parts, options.requestPriority, deadlineAt);
    return await this.#perform(run, task, () => run.process.rpc.call('request', [item]));
  }

  async #perform<T>({ process, services }: Run, task: Task, call: () => Promise<T>): Promise<T> {
    const { handlerTimeoutMs } = this.#dependencies.options.timing;
    const began = performance.now();
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
    } catch (error) {
      this.#totals.errors++;
      throw error;
    } finally {
      clearTimeout(timer);
      end();
      this.#totals.handled++;
      this.#totals.handlerSeconds += (performance.now() - began) / 1000;
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
