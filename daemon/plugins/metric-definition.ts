/** What a metric of a plugin may look like; checked where the plugin defines it, and again where it arrives. */
import { PluginError } from './api';

export interface MetricDefinition {
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
  /** Upper bounds of a histogram. */
  readonly buckets?: readonly number[];
}

export const maxMetrics = 32;
const maxLabels = 4;
const maxBuckets = 20;
const nameForm = /^[a-z][a-z0-9_]{0,63}$/;
/** The first is ours, the other two are the histogram's own. */
const taken: readonly string[] = ['plugin', 'le', 'quantile'];

function problemOf({ kind, name, help, labels, buckets }: MetricDefinition): string | undefined {
  if (typeof name !== 'string' || !nameForm.test(name)) return `expected a name of a-z 0-9 _, received ${shown(name)}`;
  if (typeof help !== 'string' || help === '' || help.length > 256)
    return 'expected a help text of 1 to 256 characters';
  const isLabel = (label: unknown): boolean =>
    typeof label === 'string' && nameForm.test(label) && !taken.includes(label);
  if (!Array.isArray(labels) || labels.length > maxLabels || !labels.every(isLabel)) {
    return `expected at most ${maxLabels} labels of a-z 0-9 _, other than ${taken.join(', ')}, received ${shown(labels)}`;
  }
  if (new Set(labels).size !== labels.length) return `expected different labels, received ${shown(labels)}`;
  if (kind === 'counter' || kind === 'gauge') return undefined;
  if (kind !== 'histogram') return `expected a counter, a gauge or a histogram, received ${shown(kind)}`;
  const ascending =
    Array.isArray(buckets) &&
    buckets.length >= 1 &&
    buckets.length <= maxBuckets &&
    buckets.every((bound, index) => Number.isFinite(bound) && (index === 0 || bound > Number(buckets[index - 1])));
  return ascending ? undefined : `expected 1 to ${maxBuckets} ascending buckets, received ${shown(buckets)}`;
}

function shown(value: unknown): string {
  return String(JSON.stringify(value)).slice(0, 80);
}

/** Throws `PLUGIN_METRIC_INVALID`. */
export function checkMetric(definition: MetricDefinition): MetricDefinition {
  const problem = problemOf(definition);
  if (problem === undefined) return definition;
  throw new PluginError('PLUGIN_METRIC_INVALID', `metric ${shown(definition.name)}: ${problem}`);
}
