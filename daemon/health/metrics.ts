/**
 * What Prometheus is told. Counts of jobs are kept here as they end, everything else is read when it is asked for. Labels
 * have values of the code or of the configuration only, so that nobody outside can make up time series.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import { catalogue } from '../errors';
import { sizeOf } from '../governor/job-facts';
import type { GenerateRequest, GenerateResult } from '../inference/types';
import type { MetricSink, PluginStats } from '../plugins/ports';
import type { JobCounts } from '../streams/job-queue';
import type { StreamStats } from '../streams/streams';
import { version } from '../version';
import type { Health } from './health';
import { PluginMetricSet } from './plugin-metrics';

export interface MetricsSources {
  health(): Promise<Health>;
  /** How jobs that never ran ended, since the start. */
  queueCounts(): JobCounts;
  oldestWaitMs(): number;
  brokerConnected(): boolean;
  streams(): Readonly<Record<string, StreamStats>>;
  plugins(): Readonly<Record<string, PluginStats>>;
}

export interface MetricsOptions {
  readonly node: string;
  readonly sources: MetricsSources;
}

/** Seconds: a reply of one token on a fast machine to a long one on a slow board. */
const firstTokenBuckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40];
const durationBuckets = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** Outcomes of jobs the queue did not let run; those that ran are counted as they end. */
const neverRan = ['full', 'evicted', 'expired', 'shutdown'] as const;

export class Metrics {
  readonly #options: MetricsOptions;
  readonly #registry = new Registry();
  readonly #jobs: Counter<'outcome'>;
  readonly #errors: Counter<'code'>;
  readonly #http: Counter<'route' | 'method' | 'status'>;
  readonly #firstToken: Histogram<'input'>;
  readonly #duration: Histogram<'input'>;
  readonly #tokens: Readonly<Record<'prompt' | 'cached' | 'completion', Counter>>;
  readonly #ran = { done: 0, failed: 0, cancelled: 0 };
  /** Set anew whenever somebody asks. */
  readonly #gauges = new Map<string, Gauge>();
  readonly #counters = new Map<string, Counter>();

  constructor(options: MetricsOptions) {
    this.#options = options;
    const registers = [this.#registry];
    this.#jobs = new Counter({
      name: 'hearth_jobs_total',
      help: 'Jobs by how they ended; full, evicted, expired and shutdown never ran.',
      labelNames: ['outcome'],
      registers,
    });
    this.#errors = new Counter({
      name: 'hearth_job_errors_total',
      help: 'Jobs that ran and failed, by the code of the error.',
      labelNames: ['code'],
      registers,
    });
    this.#http = new Counter({
      name: 'hearth_http_requests_total',
      help: 'HTTP requests by route, method and status.',
      labelNames: ['route', 'method', 'status'],
      registers,
    });
    this.#firstToken = new Histogram({
      name: 'hearth_job_first_token_seconds',
      help: 'From the start of a job to the first text of its reply, by what the prompt holds.',
      labelNames: ['input'],
      buckets: firstTokenBuckets,
      registers,
    });
    this.#duration = new Histogram({
      name: 'hearth_job_duration_seconds',
      help: 'From the start of a job to the end of its reply, by what the prompt holds.',
      labelNames: ['input'],
      buckets: durationBuckets,
      registers,
    });
    const counted = (name: string, help: string): Counter => new Counter({ name, help, registers });
    this.#tokens = {
      prompt: counted('hearth_prompt_tokens_total', 'Tokens of the prompts, cached ones included.'),
      cached: counted('hearth_prompt_cached_tokens_total', 'Tokens of prompts that needed no prefill.'),
      completion: counted('hearth_completion_tokens_total', 'Tokens of the replies.'),
    };
  }

  /** A job that ran to its end. Milliseconds since it was handed to the engine; no first text for an empty reply. */
  jobDone(
    request: GenerateRequest,
    { tokens }: GenerateResult,
    firstTextMs: number | undefined,
    totalMs: number,
  ): void {
    const { images, clips } = sizeOf(request);
    const input = images > 0 ? (clips > 0 ? 'image+audio' : 'image') : clips > 0 ? 'audio' : 'text';
    this.#ran.done++;
    if (firstTextMs !== undefined) this.#firstToken.observe({ input }, firstTextMs / 1000);
    this.#duration.observe({ input }, totalMs / 1000);
    this.#tokens.prompt.inc(tokens.prompt);
    this.#tokens.cached.inc(tokens.cached ?? 0);
    this.#tokens.completion.inc(tokens.completion);
  }

  jobFailed(code: string): void {
    if (code === 'ENGINE_CANCELLED') {
      this.#ran.cancelled++;
      return;
    }
    this.#ran.failed++;
    this.#errors.inc({ code: Object.hasOwn(catalogue, code) ? code : 'INTERNAL' });
  }

  httpResponse(route: string, method: string, status: number): void {
    this.#http.inc({ route, method, status: String(status) });
  }

  /** Where a plugin's own metrics go. */
  ofPlugin(plugin: string, onRefused: (reason: string) => void): MetricSink {
    return new PluginMetricSet(plugin, this.#registry, onRefused);
  }

  /** The text format, version 0.0.4. */
  async text(): Promise<{ readonly contentType: string; readonly text: string }> {
    this.#read(await this.#options.sources.health());
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  #read(health: Health): void {
    const { node, sources } = this.#options;
    const { memory, queue, governor, mqtt, prefix_cache: cache } = health;
    const counts = sources.queueCounts();
    // They are read as totals, so that each reading begins at nothing.
    for (const metric of [this.#jobs, ...this.#gauges.values(), ...this.#counters.values()]) metric.reset();
    for (const outcome of neverRan) this.#jobs.inc({ outcome }, counts[outcome]);
    this.#jobs.inc({ outcome: 'done' }, this.#ran.done);
    this.#jobs.inc({ outcome: 'failed' }, this.#ran.failed);
    this.#jobs.inc({ outcome: 'cancelled' }, this.#ran.cancelled + counts.cancelled);

    this.#gauge('hearth_info', 'What runs; always 1.', 1, { version, node });
    this.#gauge('hearth_uptime_seconds', 'Time since the daemon started.', health.uptime_s);
    this.#gauge('hearth_engine_ready', 'Whether the model is loaded.', health.runner.phase === 'ready' ? 1 : 0);
    this.#gauge('hearth_mqtt_connected', 'Whether the broker has us.', sources.brokerConnected() ? 1 : 0);
    this.#gauge('hearth_queue_jobs', 'Jobs in the queue.', queue.depth, { state: 'waiting' });
    this.#gauge('hearth_queue_jobs', 'Jobs in the queue.', queue.running, { state: 'running' });
    this.#gauge(
      'hearth_queue_oldest_wait_seconds',
      'How long the job has waited that waits longest.',
      sources.oldestWaitMs() / 1000,
    );
    this.#gauge('hearth_decode_tokens_per_second', 'Of the last job.', health.tokens_per_second);
    const memoryHelp = 'Memory in use.';
    this.#gauge('hearth_memory_bytes', memoryHelp, memory.daemon_rss_bytes, { part: 'daemon' });
    this.#gauge('hearth_memory_bytes', memoryHelp, memory.runner_rss_bytes, { part: 'runner' });
    this.#gauge('hearth_kv_cache_bytes', 'Keys and values of the sessions, part of the runner.', memory.kv_bytes);
    if (memory.available_bytes !== null)
      this.#gauge('hearth_memory_available_bytes', 'What can still be had.', memory.available_bytes);
    if (health.soc_temperature_c !== null)
      this.#gauge('hearth_soc_temperature_celsius', 'Temperature of the SoC.', health.soc_temperature_c);
    if (health.throttled !== null)
      this.#gauge('hearth_throttled', 'Whether the board is slowed down.', health.throttled.now.length > 0 ? 1 : 0);
    this.#gauge('hearth_governor_level', '0 at ease to 3 critical.', governor.level);
    this.#gauge('hearth_slice_info', 'What a job gets that names nothing; always 1.', 1, {
      slice: health.slice,
      image_size: String(health.image_size ?? ''),
    });
    if (cache !== null) {
      this.#gauge('hearth_prefix_cache_bytes', 'Memory the prefix cache takes.', cache.bytes);
      this.#gauge('hearth_prefix_cache_entries', 'Prompts and replies in the prefix cache.', cache.entries);
    }
    for (const [plugin, state] of Object.entries(health.plugins))
      this.#gauge('hearth_plugin_running', 'Whether a plugin runs.', state === 'running' ? 1 : 0, { plugin });
    this.#readPlugins(sources.plugins());

    this.#counter('hearth_runner_restarts_total', 'Runners that had to be replaced.', health.runner.restarts);
    this.#counter('hearth_mqtt_received_total', 'MQTT messages received.', mqtt['received'] ?? 0);
    this.#counter('hearth_mqtt_published_total', 'MQTT messages published.', mqtt['published'] ?? 0);
    this.#counter('hearth_mqtt_dropped_total', 'MQTT messages that did not get out.', mqtt['publishesDropped'] ?? 0);
    this.#counter('hearth_mqtt_reconnects_total', 'MQTT connections made again.', mqtt['reconnects'] ?? 0);
    for (const [stream, { received, used, skipped }] of Object.entries(sources.streams())) {
      this.#counter('hearth_stream_received_total', 'Frames and chunks of a stream.', received, { stream });
      this.#counter('hearth_stream_used_total', 'Frames and segments handed to a plugin.', used, { stream });
      for (const [reason, count] of Object.entries(skipped))
        this.#counter('hearth_stream_skipped_total', 'Inputs that were not used.', count, { stream, reason });
    }
  }

  #readPlugins(plugins: Readonly<Record<string, PluginStats>>): void {
    for (const [plugin, { jobs, handled, errors, restarts, handlerSeconds, heapBytes }] of Object.entries(plugins)) {
      this.#counter('hearth_plugin_jobs_total', 'Jobs a plugin asked for.', jobs, { plugin });
      this.#counter('hearth_plugin_handled_total', 'Items and requests a plugin had in hand.', handled, { plugin });
      this.#counter('hearth_plugin_errors_total', 'Those of them it failed at.', errors, { plugin });
      this.#counter('hearth_plugin_restarts_total', 'Times a plugin ended by itself.', restarts, { plugin });
      this.#counter(
        'hearth_plugin_handler_seconds_total',
        'Time the handlers of a plugin took, the wait for the engine included.',
        handlerSeconds,
        { plugin },
      );
      this.#gauge('hearth_plugin_heap_bytes', 'JavaScript heap of a plugin.', heapBytes, { plugin });
    }
  }

  #gauge(name: string, help: string, value: number, labels: Readonly<Record<string, string>> = {}): void {
    const known = this.#gauges.get(name);
    const gauge = known ?? new Gauge({ name, help, labelNames: Object.keys(labels), registers: [this.#registry] });
    this.#gauges.set(name, gauge);
    gauge.set(labels, value);
  }

  #counter(name: string, help: string, value: number, labels: Readonly<Record<string, string>> = {}): void {
    const known = this.#counters.get(name);
    const counter = known ?? new Counter({ name, help, labelNames: Object.keys(labels), registers: [this.#registry] });
    this.#counters.set(name, counter);
    counter.inc(labels, value);
  }
}
