/**
 * All plugins of a daemon. They start once the model is loaded, and again when another one is: a plugin sees one model
 * for as long as it runs. Threads and processes keep the daemon from a plugin's faults, not from its malice: a plugin can
 * open files and sockets as the daemon can.
 */
import { filter, map, type Subscription } from 'rxjs';
import { HearthError } from '../errors';
import type { EngineState, ModelInfo } from '../inference/types';
import { messageOf } from '../log';
import { FunctionRegistry } from './function-registry';
import type { PluginHostDependencies, PluginSettings, PluginStats } from './ports';
import { type PluginStatus, Supervisor } from './supervisor';

type Ready = Extract<EngineState, { readonly phase: 'ready' }>;

export class PluginHost {
  readonly #dependencies: PluginHostDependencies;
  readonly #functions = new FunctionRegistry();
  readonly #plugins: Map<string, Supervisor>;
  #subscription: Subscription | undefined;
  #endVerbs: (() => void)[] = [];
  #model: ModelInfo | undefined;
  #stopped = false;
  /** Starts and stops follow each other: no plugin is started twice at a time. */
  #changes: Promise<unknown> = Promise.resolve();

  constructor(dependencies: PluginHostDependencies) {
    this.#dependencies = dependencies;
    this.#plugins = new Map(
      dependencies.options.plugins.map((settings) => [
        settings.name,
        new Supervisor(settings, dependencies, this.#functions),
      ]),
    );
  }

  /** What each plugin is doing, for `info` and `health`. */
  status(): readonly PluginStatus[] {
    return Array.from(this.#plugins.values(), (plugin) => plugin.status);
  }

  /** What each plugin did so far. */
  stats(): Readonly<Record<string, PluginStats>> {
    return Object.fromEntries(Array.from(this.#plugins, ([name, plugin]) => [name, plugin.stats]));
  }

  /** Starts every plugin as soon as the engine is ready, and answers `plugin/restart`, `plugin/enable` and `plugin/disable`. */
  start(): void {
    const { bus, engine } = this.#dependencies;
    const on = (verb: string, work: (name: unknown) => Promise<PluginStatus>): void => {
      this.#endVerbs.push(bus.onRequest(`plugin/${verb}`, async ({ payload }) => await work(payload['plugin'])));
    };
    on('restart', async (name) => await this.restart(name));
    on('enable', async (name) => await this.setEnabled(name, true));
    on('disable', async (name) => await this.setEnabled(name, false));
    this.#subscription = engine.state$
      .pipe(
        filter((state): state is Ready => state.phase === 'ready'),
        map(({ info }) => info),
      )
      .subscribe((model) => {
        // A runner that came back with the model it had changes nothing for a plugin.
        if (JSON.stringify(model) === JSON.stringify(this.#model)) return;
        this.#model = model;
        this.#inBackground(async () => {
          await Promise.all(Array.from(this.#plugins.values(), (plugin) => plugin.start(model)));
        });
      });
  }

  /**
   * Starts a plugin afresh, with its files and its configuration as they are now; one that runs first finishes what it has
   * in hand, and what comes meanwhile waits. Out of quarantine, too. Rejects with `REQUEST_INVALID` for a name that is none,
   * with `CONFIG_INVALID`, or with what keeps the new run from being loaded, in which case the old one runs on.
   */
  async restart(name: unknown): Promise<PluginStatus> {
    const plugin = this.#known('restart', name);
    return await this.#change(async () => {
      const settings = this.#settings().get(plugin.name);
      await plugin.start(this.#loadedModel('restart'), settings);
      return plugin.status;
    });
  }

  /** Switches a plugin on or off, for the next starts of the daemon, too. Rejects with `PLUGIN_LOAD_FAILED` or as `restart` does. */
  async setEnabled(name: unknown, enabled: boolean): Promise<PluginStatus> {
    const verb = enabled ? 'enable' : 'disable';
    const { catalogue } = this.#dependencies;
    if (typeof name !== 'string' || catalogue === undefined) throw this.#unknown(verb, name);
    return await this.#change(async () => {
      await catalogue.setEnabled(name, enabled);
      await this.#apply(this.#settings(), (changed) => changed === name);
      return this.#plugins.get(name)?.status ?? { name, state: 'stopped', restarts: 0, verbs: [] };
    });
  }

  /** Reads the configuration again: what is new is started, what is gone is stopped, what stays is restarted. Never rejects. */
  async reload(): Promise<void> {
    await this.#change(async () => await this.#apply(this.#settings(), () => true)).catch(() => undefined);
  }

  /** Resolves when every worker is gone; what they had in hand has ended by then. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#subscription?.unsubscribe();
    for (const end of this.#endVerbs.splice(0)) end();
    const reason = new HearthError('SHUTDOWN', 'the daemon is stopping');
    // Not behind a start that hangs.
    await Promise.all(Array.from(this.#plugins.values(), (plugin) => plugin.stop(reason)));
  }

  /** Resolves when the starts and restarts under way have ended, well or not. */
  async settled(): Promise<void> {
    await this.#changes;
  }

  /** Makes what runs what the settings say, for the plugins that are `concerned`. */
  async #apply(settings: ReadonlyMap<string, PluginSettings>, concerned: (name: string) => boolean): Promise<void> {
    const gone = [...this.#plugins.keys()].filter((name) => concerned(name) && !settings.has(name));
    const wanted = [...settings.values()].filter(({ name }) => concerned(name));
    await Promise.all([
      ...gone.map(async (name) => {
        await this.#plugins.get(name)?.retire();
        this.#plugins.delete(name);
      }),
      ...wanted.map(async (given) => {
        const plugin = this.#plugins.get(given.name) ?? new Supervisor(given, this.#dependencies, this.#functions);
        this.#plugins.set(given.name, plugin);
        // Without a model it starts when there is one.
        if (this.#model !== undefined) await plugin.start(this.#model, given);
      }),
    ]);
  }

  #settings(): ReadonlyMap<string, PluginSettings> {
    const { catalogue, options } = this.#dependencies;
    return new Map((catalogue?.settings() ?? options.plugins).map((settings) => [settings.name, settings]));
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const change = this.#changes.then(async () => {
      if (this.#stopped) throw new HearthError('SHUTDOWN', 'the daemon is stopping');
      return await work().finally(() => this.#dependencies.onChanged?.());
    });
    this.#changes = change.catch((error: unknown) =>
      this.#dependencies.log.error({ reason: messageOf(error) }, 'plugins: a change failed'),
    );
    return change;
  }

  #inBackground(work: () => Promise<void>): void {
    this.#change(work).catch(() => undefined);
  }

  #known(verb: string, name: unknown): Supervisor {
    const plugin = typeof name === 'string' ? this.#plugins.get(name) : undefined;
    if (plugin === undefined) throw this.#unknown(verb, name);
    return plugin;
  }

  #unknown(verb: string, name: unknown): HearthError {
    const names = [...this.#plugins.keys()].join(', ');
    return new HearthError(
      'REQUEST_INVALID',
      `plugin/${verb}: expected {"plugin": one of ${names}}, received ${JSON.stringify(name ?? null).slice(0, 80)}`,
    );
  }

  #loadedModel(verb: string): ModelInfo {
    if (this.#model !== undefined) return this.#model;
    throw new HearthError('ENGINE_NOT_READY', `plugin/${verb}: the model is not loaded yet`);
  }
}
