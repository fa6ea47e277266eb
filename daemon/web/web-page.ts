/** What the web page shows: how everything is when it is opened, and what changes from then on. */
import type { Published } from '../bus/bus';
import type { StreamEvent } from '../events';
import type { Health } from '../health/health';
import type { EngineState, RgbImage } from '../inference/types';
import { type Log, messageOf } from '../log';
import type { ModelUpdateState, ModelUpdateView } from '../models/model-update';
import type { PluginStatus } from '../plugins/supervisor';
import { otherStream } from '../streams/skips';
import type { StreamStats } from '../streams/streams';
import { version } from '../version';
import { Feed } from './feed';
import { History } from './history';
import { Pictures, type PicturesOptions } from './pictures';

export interface WebPageOptions {
  readonly node: string;
  readonly health: () => Promise<Health>;
  readonly brokerConnected: () => boolean;
  readonly engine: () => EngineState;
  readonly streams: () => Readonly<Record<string, StreamStats>>;
  /** What the configuration says its streams are. */
  readonly configured: Readonly<Record<string, { readonly kind: 'camera' | 'microphone' }>>;
  readonly plugins: () => readonly PluginStatus[];
  /** Rejects where there is none of that name. */
  readonly restartPlugin: (name: string) => Promise<PluginStatus>;
  readonly showPicture: PicturesOptions['allowed'];
  readonly latestFrame: PicturesOptions['latest'];
  readonly updates?: Pick<ModelUpdateView, 'change$'>;
  readonly log: Log;
}

interface StreamView extends Pick<StreamStats, 'received' | 'used' | 'skipped' | 'enabled'> {
  readonly name: string;
  readonly kind: 'camera' | 'microphone' | null;
  /** There is a picture to ask about. */
  readonly seen: boolean;
  /** There is one to show. */
  readonly picture: boolean;
}

/** A stream that has sent nothing yet. */
const untouched = { received: 0, used: 0, skipped: {}, enabled: true };
const sampleIntervalMs = 10_000;
const historyMs = 3_600_000;
const maxTextCharacters = 4000;

/** What the page shows of an event. */
function eventView(event: StreamEvent) {
  const { id, kind, stream, ts, latency_ms, text, lang, clip, slice, plugin, truncated, call, error } = event;
  const shown = text !== undefined && text.length > maxTextCharacters ? `${text.slice(0, maxTextCharacters)}…` : text;
  return { id, kind, stream, ts, latency_ms, text: shown, lang, clip, slice, plugin, truncated, call, error };
}

function engineView(state: EngineState) {
  return {
    phase: state.phase,
    loaded: state.phase === 'loading' ? Math.floor(state.fraction * 100) / 100 : null,
    reason: 'reason' in state ? state.reason : null,
    model:
      state.phase === 'ready'
        ? { name: state.info.name, parameters: state.info.parameters, question: state.info.prompts.caption }
        : null,
  };
}

function pluginView({ name, version: release, state, restarts, reason }: PluginStatus) {
  return { name, version: release ?? null, state, restarts, reason: reason ?? null };
}

function own<T>(record: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}

export class WebPage {
  readonly feed = new Feed({ maxEvents: 200, maxCharacters: 1 << 20, heartbeatMs: 15_000 });
  readonly pictures: Pictures;
  readonly #options: WebPageOptions;
  readonly #history = new History(historyMs / sampleIntervalMs);
  #update: ModelUpdateState | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: WebPageOptions) {
    this.#options = options;
    this.pictures = new Pictures({ allowed: options.showPicture, latest: options.latestFrame });
    options.updates?.change$.subscribe((update) => {
      this.#update = update;
      this.feed.set('update', 'update', update);
    });
  }

  start(): void {
    void this.#sample();
    this.#timer = setInterval(() => void this.#sample(), sampleIntervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** What the daemon published. */
  note(published: Published): void {
    switch (published.type) {
      case 'event':
        this.#event(published.event);
        break;
      case 'partial': {
        const { stream, partial } = published;
        this.feed.set(`partial/${stream}`, 'partial', { stream, id: partial.id, text: partial.text });
        break;
      }
      case 'plugin': {
        const status = this.#options.plugins().find(({ name }) => name === published.name);
        if (status !== undefined)
          this.feed.set(`plugin/${published.name}`, 'plugin', pluginView({ ...status, ...published.state }));
        break;
      }
    }
  }

  engineChanged(): void {
    this.feed.set('engine', 'engine', engineView(this.#options.engine()));
  }

  async restartPlugin(name: string): Promise<object> {
    return pluginView(await this.#options.restartPlugin(name));
  }

  latestFrame(stream: string): RgbImage | undefined {
    return this.#options.latestFrame(stream);
  }

  /** How everything is; what comes after it is in `feed` behind `last_id`. */
  async snapshot(): Promise<object> {
    const { node, health, engine, plugins } = this.#options;
    const status = this.#statusView(await health());
    return {
      node,
      version,
      last_id: this.feed.lastId,
      engine: engineView(engine()),
      update: this.#update,
      status,
      plugins: plugins().map(pluginView),
      samples: this.#history.all(),
      events: this.feed.recent(),
    };
  }

  #event(event: StreamEvent): void {
    // One a second for each stream and reason; the counters say as much.
    if (event.kind === 'skipped') return;
    if (event.kind !== 'error') this.#history.noteLatency(event.latency_ms);
    this.feed.remove(`partial/${event.stream}`);
    this.feed.append('event', eventView(event));
    const { stream } = event;
    // Answers may be about any name somebody makes up.
    const stats = this.#options.streams();
    if (stream !== otherStream && Object.hasOwn(stats, stream))
      this.feed.set(`stream/${stream}`, 'stream', this.#streamView(stream, stats));
  }

  async #sample(): Promise<void> {
    try {
      const health = await this.#options.health();
      this.feed.set('sample', 'sample', this.#history.sample(health));
      this.feed.set('status', 'status', this.#statusView(health));
    } catch (error) {
      this.#options.log.error({ reason: messageOf(error) }, 'the page could not be told how things are');
    }
  }

  #statusView(health: Health) {
    const { memory, queue, governor, slice, image_size, soc_temperature_c, throttled, uptime_s } = health;
    return {
      broker: this.#options.brokerConnected() ? 'connected' : 'offline',
      uptime_s,
      memory_bytes: memory.daemon_rss_bytes + memory.runner_rss_bytes,
      queue,
      slice,
      image_size,
      governor: { level: governor.level, why: governor.why },
      temperature_c: soc_temperature_c,
      throttled: throttled === null ? [] : throttled.now,
      streams: this.#streamViews(),
    };
  }

  #streamViews(): StreamView[] {
    const { streams, configured } = this.#options;
    const stats = streams();
    const names = new Set([...Object.keys(configured), ...Object.keys(stats)]);
    names.delete(otherStream);
    return Array.from(names, (name) => this.#streamView(name, stats));
  }

  #streamView(name: string, stats: Readonly<Record<string, StreamStats>>): StreamView {
    const { configured, latestFrame } = this.#options;
    const { received, used, skipped, enabled } = own(stats, name) ?? untouched;
    const seen = latestFrame(name) !== undefined;
    return {
      name,
      kind: own(configured, name)?.kind ?? (seen ? 'camera' : null),
      received,
      used,
      skipped,
      enabled,
      seen,
      picture: this.pictures.has(name),
    };
  }
}
