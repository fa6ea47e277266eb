/** One plugin inside its worker: the context it is started with, and the handlers it registers there. */
import type {
  CallContext,
  ClipItem,
  FrameItem,
  MediaRef,
  Plugin,
  PluginContext,
  PluginManifest,
  RequestItem,
  SegmentItem,
} from './api';
import { PluginError } from './api';
import type { HostMethods, HostNotices, LogSeverity, Registered, StartSetup, WorkerMethods } from './protocol';
import { type Rpc, toWireError } from './rpc';
import { pluginMetrics } from './worker-metrics';

type FunctionHandler = (args: Readonly<Record<string, unknown>>, context: CallContext) => unknown;
type MessageHandler = (topic: string, payload: Uint8Array) => void | Promise<void>;

/** As JSON: what is longer, such as the samples of a sound, would be most of the log. */
const maxFieldCharacters = 16_384;

function asJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PluginError('PLUGIN_STORAGE_INVALID', `storage: expected a value that JSON can hold: ${reason}`, {
      cause,
    });
  }
}

export class WorkerSide {
  readonly #abort = new AbortController();
  readonly #requests = new Map<string, (request: RequestItem) => unknown>();
  readonly #subscriptions = new Map<string, MessageHandler[]>();
  readonly #functions = new Map<string, FunctionHandler>();
  #onFrame: ((frame: FrameItem) => Promise<void> | void) | undefined;
  #onSegment: ((segment: SegmentItem) => Promise<void> | void) | undefined;
  #onClip: ((clip: ClipItem) => Promise<void> | void) | undefined;
  #plugin: Plugin | undefined;
  #started = false;

  constructor(
    private readonly module: () => Promise<Plugin>,
    private readonly host: () => Rpc<HostMethods, HostNotices>,
  ) {}

  readonly methods: WorkerMethods = {
    load: async () => {
      this.#plugin = await this.module();
      // Getters, functions and the like have no place in a manifest.
      return JSON.parse(JSON.stringify(this.#plugin.manifest)) as unknown;
    },
    start: async (setup) => await this.#start(setup),
    item: async (item) => {
      if (item.kind === 'frame') await this.#onFrame?.(item);
      else if (item.kind === 'segment') await this.#onSegment?.(item);
      else await this.#onClip?.(item);
    },
    request: async (request) => await this.#requests.get(request.verb)?.(request),
    message: async (filter, topic, payload) => {
      for (const handler of this.#subscriptions.get(filter) ?? []) await handler(topic, payload);
    },
    callFunction: async (name, args, context) => {
      const handler = this.#functions.get(name);
      if (handler === undefined) throw new PluginError('CALL_FUNCTION_UNKNOWN', `${name} is registered no more`);
      return await handler(args, context);
    },
    stop: async () => {
      this.#abort.abort();
      await this.#plugin?.stop?.();
    },
  };

  async #start(setup: StartSetup): Promise<Registered> {
    const plugin = this.#plugin;
    if (plugin === undefined) throw new Error('start came before load');
    await plugin.start(this.#context(plugin.manifest, setup));
    this.#started = true;
    return {
      consumes: [
        ...(this.#onFrame ? (['frame'] as const) : []),
        ...(this.#onSegment ? (['segment'] as const) : []),
        ...(this.#onClip ? (['clip'] as const) : []),
      ],
      verbs: [...this.#requests.keys()],
    };
  }

  #checkDeclared(what: string, declared: readonly string[] | undefined, wanted: string): void {
    if (this.#started)
      throw new PluginError('PLUGIN_MANIFEST_INVALID', `${wanted}: expected handlers to be registered in start`);
    if (declared?.includes(wanted) === true) return;
    throw new PluginError(
      'PLUGIN_MANIFEST_INVALID',
      `expected "${wanted}" under ${what} of the manifest, since a handler was registered for it`,
    );
  }

  #log(severity: LogSeverity): (message: string, fields?: Readonly<Record<string, unknown>>) => void {
    return (message, fields = {}) => {
      // What cannot be written as JSON is no reason to lose the message.
      let plain: Record<string, unknown> = {};
      try {
        const text = JSON.stringify(fields);
        plain =
          text.length > maxFieldCharacters
            ? { fields: `${text.length} characters` }
            : (JSON.parse(text) as Record<string, unknown>);
      } catch {
        plain = { fields: 'not JSON' };
      }
      this.host().notify('log', [severity, String(message), plain]);
    };
  }

  #context(manifest: PluginManifest, { config, node, baseTopic, model }: StartSetup): PluginContext {
    const host = this.host();
    return {
      config,
      node,
      baseTopic,
      model,
      signal: this.#abort.signal,
      log: { debug: this.#log('debug'), info: this.#log('info'), warn: this.#log('warn'), error: this.#log('error') },
      onFrame: (handler) => {
        this.#checkDeclared('consumes', manifest.consumes, 'frame');
        this.#onFrame = handler;
      },
      onSegment: (handler) => {
        this.#checkDeclared('consumes', manifest.consumes, 'segment');
        this.#onSegment = handler;
      },
      onClip: (handler) => {
        this.#checkDeclared('consumes', manifest.consumes, 'clip');
        this.#onClip = handler;
      },
      onRequest: (verb, handler) => {
        this.#checkDeclared('verbs', manifest.verbs, verb);
        this.#requests.set(verb, handler);
      },
      withFrame: async ({ load, ...source }, handler) => {
        const id = await host.call('openFrame', [source]);
        try {
          const bytes = new Uint8Array(await load());
          const result = await handler(await host.call('fillFrame', [id, bytes], [bytes.buffer]));
          await host.call('closeFrame', [id]);
          return result;
        } catch (error) {
          await host.call('closeFrame', [id, toWireError(error)]).catch(() => undefined);
          throw error;
        }
      },
      generate: async (request) => await host.call('generate', [request]),
      emit: async (fields) => await host.call('emit', [fields]),
      publish: async (topic, payload, options) => {
        // A copy of its own: a Buffer is often a view of a pool, and the whole pool would cross.
        const body = typeof payload === 'string' ? payload : new Uint8Array(payload);
        await host.call('publish', [topic, body, options], typeof body === 'string' ? [] : [body.buffer]);
      },
      subscribe: async (filter, handler) => {
        const handlers = this.#subscriptions.get(filter) ?? [];
        // Before the call: what is retained may come before its answer.
        this.#subscriptions.set(filter, [...handlers, handler]);
        if (handlers.length > 0) return;
        try {
          await host.call('subscribe', [filter]);
        } catch (error) {
          this.#subscriptions.delete(filter);
          throw error;
        }
      },
      registerFunction: async (declaration, handler) => {
        const { name } = declaration;
        // Before the call: it may be called before its answer is here.
        const before = this.#functions.get(name);
        this.#functions.set(name, handler);
        try {
          await host.call('registerFunction', [declaration]);
        } catch (error) {
          if (before === undefined) this.#functions.delete(name);
          else this.#functions.set(name, before);
          throw error;
        }
        return async () => {
          // Not one that has taken its place.
          if (this.#functions.get(name) !== handler) return;
          this.#functions.delete(name);
          await host.call('unregisterFunction', [name]);
        };
      },
      functions: async () => await host.call('functions', []),
      callFunction: async (name, args, context) => await host.call('callFunction', [name, args, context]),
      read: async (media: MediaRef) => await host.call('read', [media.ref]),
      storage: {
        get: async (key) => {
          const json = await host.call('storageGet', [key]);
          return json === undefined ? undefined : (JSON.parse(json) as unknown);
        },
        set: async (key, value) => await host.call('storageSet', [key, asJson(value)]),
        delete: async (key) => await host.call('storageDelete', [key]),
        list: async (prefix) => await host.call('storageList', [prefix]),
      },
      metrics: pluginMetrics(host),
    };
  }
}
