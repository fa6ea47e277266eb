/**
 * The metrics plugins have of their own, bounded in number and in combinations of labels: what a plugin makes of the
 * world outside must not become time series without end.
 */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { MetricLabels } from '../plugins/api';
import { checkMetric, type MetricDefinition, maxMetrics } from '../plugins/metric-definition';

const maxCombinations = 100;
const maxLabelCharacters = 64;

interface Held {
  readonly definition: MetricDefinition;
  readonly metric: Counter | Gauge | Histogram;
  readonly combinations: Set<string>;
  readonly fullName: string;
}

/** One plugin's metrics in the registry of the daemon. What does not fit is told to `onRefused`, once a metric. */
export class PluginMetricSet {
  readonly #held = new Map<string, Held>();
  readonly #refused = new Set<string>();

  constructor(
    private readonly plugin: string,
    private readonly registry: Registry,
    private readonly onRefused: (reason: string) => void,
  ) {}

  define(given: MetricDefinition): void {
    let definition: MetricDefinition;
    try {
      definition = checkMetric(given);
    } catch (error) {
      this.#refuse(String(given?.name).slice(0, 80), (error as Error).message);
      return;
    }
    const { name } = definition;
    const known = this.#held.get(name);
    if (known !== undefined) {
      if (JSON.stringify(known.definition) === JSON.stringify(definition)) return;
      this.#drop(known);
    }
    const fullName = `hearth_plugin_${this.plugin.replaceAll('-', '_')}_${name}`;
    if (this.#held.size >= maxMetrics) {
      this.#refuse(name, `metric ${name}: expected at most ${maxMetrics} metrics of a plugin`);
    } else if (this.registry.getSingleMetric(fullName) !== undefined) {
      this.#refuse(name, `metric ${name}: ${fullName} is there already`);
    } else {
      this.#held.set(name, { definition, fullName, combinations: new Set(), metric: this.#make(definition, fullName) });
    }
  }

  measure(name: string, value: number, labels: MetricLabels): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    const { definition, metric, combinations } = held;
    const given = Object.entries(labels ?? {});
    const fits =
      Number.isFinite(value) &&
      given.every(([label, text]) => definition.labels.includes(label) && typeof text === 'string');
    if (!fits || (definition.kind === 'counter' && value < 0)) {
      this.#refuse(name, `metric ${name}: expected a number and the labels ${definition.labels.join(', ') || 'none'}`);
      return;
    }
    const values = definition.labels.map((label) => String(labels[label] ?? '').slice(0, maxLabelCharacters));
    const key = JSON.stringify(values);
    if (!combinations.has(key) && combinations.size >= maxCombinations) {
      this.#refuse(name, `metric ${name}: expected at most ${maxCombinations} combinations of labels`);
      return;
    }
    combinations.add(key);
    const full = {
      plugin: this.plugin,
      ...Object.fromEntries(definition.labels.map((label, at) => [label, values[at] ?? ''])),
    };
    if (metric instanceof Counter) metric.inc(full, value);
    else if (metric instanceof Gauge) metric.set(full, value);
    else metric.observe(full, value);
  }

  /** Takes all of them out. */
  clear(): void {
    for (const held of [...this.#held.values()]) this.#drop(held);
  }

  #drop({ definition, fullName }: Held): void {
    this.#held.delete(definition.name);
    this.registry.removeSingleMetric(fullName);
  }

  #make({ kind, help, labels, buckets }: MetricDefinition, name: string): Counter | Gauge | Histogram {
    const settings = { name, help, labelNames: ['plugin', ...labels], registers: [this.registry] };
    if (kind === 'counter') return new Counter(settings);
    if (kind === 'gauge') return new Gauge(settings);
    return new Histogram({ ...settings, buckets: [...(buckets ?? [])] });
  }

  #refuse(name: string, reason: string): void {
    // The names are the plugin's: those that are remembered are bounded, too.
    if (this.#refused.has(name) || this.#refused.size >= 2 * maxMetrics) return;
    this.#refused.add(name);
    this.onRefused(reason);
  }
}
