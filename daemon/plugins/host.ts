/**
 * All plugins of a daemon. They start once the model is loaded, and again when another one is: a plugin sees one model
 * for as long as it runs. Worker threads keep the daemon from a plugin's faults, not from its malice: a plugin can open
 * files and sockets as the daemon can.
 */
import { filter, map, type Subscription } from 'rxjs';
import { HearthError } from '../errors';
import type { EngineState, ModelInfo } from '../inference/types';
import { messageOf } from '../log';
import { FunctionRegistry } from './function-registry';
import type { PluginHostDependencies } from './ports';
import { type PluginStatus, Supervisor } from './supervisor';

type Ready = Extract<EngineState, { readonly phase: 'ready' }>;

export class PluginHost {
  readonly #dependencies: PluginHostDependencies;
  readonly #plugins: ReadonlyMap<string, Supervisor>;
  #subscription: Subscription | undefined;
  #endVerb: (() => void) | undefined;
  #model: ModelInfo | undefined;
  /** Starts and stops follow each other: no plugin is started twice at a time. */
  #changes: Promise<void> = Promise.resolve();

  constructor(dependencies: PluginHostDependencies) {
    this.#dependencies = dependencies;
    const functions = new FunctionRegistry();
    this.#plugins = new Map(
      dependencies.options.plugins.map((settings) => [
        settings.name,
        new Supervisor(settings, dependencies, functions),
      ]),
    );
  }

  /** What each plugin is doing, for `info` and `health`. */
  status(): readonly PluginStatus[] {
    return Array.from(this.#plugins.values(), (plugin) => plugin.status);
  }

  /** Starts every plugin as soon as the engine is ready, and answers `plugin/restart`. */
  start(): void {
    const { bus, engine } = this.#dependencies;
    this.#endVerb = bus.onRequest('plugin/restart', async ({ payload }) => await this.restart(payload['plugin']));
    this.#subscription = engine.state$
      .pipe(
        filter((state): state is Ready => state.phase === 'ready'),
        map(({ info }) => info),
      )
      .subscribe((model) => {
        // A runner that came back with the model it had changes nothing for a plugin.
        if (JSON.stringify(model) === JSON.stringify(this.#model)) return;
        this.#model = model;
        void this.#change(async () => {
          await Promise.all(Array.from(this.#plugins.values(), (plugin) => plugin.start(model)));
        });
      });
  }

  /** Resolves when every worker is gone; what they had in hand has ended by then. Never rejects. */
  async stop(): Promise<void> {
    this.#subscription?.unsubscribe();
    this.#endVerb?.();
    const reason = new HearthError('SHUTDOWN', 'the daemon is stopping');
    // Not behind a start that hangs.
    await Promise.all(Array.from(this.#plugins.values(), (plugin) => plugin.stop(reason)));
  }

  /** Resolves when the starts and restarts under way have ended, well or not. */
  async settled(): Promise<void> {
    await this.#changes;
  }

  #change(work: () => Promise<void>): Promise<void> {
    this.#changes = this.#changes
      .then(work)
      .catch((error: unknown) =>
        this.#dependencies.log.error({ reason: messageOf(error) }, 'plugins: a change failed'),
      );
    return this.#changes;
  }

  /** Also one that was given up on. Rejects with `REQUEST_INVALID` or `ENGINE_NOT_READY`. */
  async restart(name: unknown): Promise<PluginStatus> {
    const plugin = typeof name === 'string' ? this.#plugins.get(name) : undefined;
    if (plugin === undefined) {
      throw new HearthError(
        'REQUEST_INVALID',
        `plugin/restart: expected {"plugin": one of ${[...this.#plugins.keys()].join(', ')}}, received ${JSON.stringify(name ?? null).slice(0, 80)}`,
      );
    }
    const model = this.#model;
    if (model === undefined) throw new HearthError('ENGINE_NOT_READY', 'plugin/restart: the model is not loaded yet');
    await this.#change(async () => await plugin.start(model));
    return plugin.status;
  }
}
