/** `ctx.metrics`, in the plugin's worker: what it is told goes to the host at once, where the numbers are kept. */
import type { MetricLabels, PluginMetrics } from './api';
import { checkMetric, type MetricDefinition } from './metric-definition';
import type { HostMethods, HostNotices } from './protocol';
import type { Rpc } from './rpc';

export function pluginMetrics(host: Pick<Rpc<HostMethods, HostNotices>, 'notify'>): PluginMetrics {
  const define = (given: MetricDefinition): ((value: number, labels?: MetricLabels) => void) => {
    const { name } = checkMetric(given);
    host.notify('metric', [given]);
    return (value, labels = {}) => host.notify('measure', [name, value, labels]);
  };
  return {
    counter: (name, help, labels = []) => {
      const measure = define({ kind: 'counter', name, help, labels });
      return { inc: (by = 1, values) => measure(by, values) };
    },
    gauge: (name, help, labels = []) => ({ set: define({ kind: 'gauge', name, help, labels }) }),
    histogram: (name, help, buckets, labels = []) => ({
      observe: define({ kind: 'histogram', name, help, labels, buckets }),
    }),
  };
}
