/** What can be wrong with a configuration, and how it is said. */
import { distance } from 'fastest-levenshtein';
import { HearthError } from '../errors';
import { messageOf } from '../log';

/** One thing that is wrong with the configuration. */
export interface ConfigProblem {
  readonly path: string;
  readonly expected: string;
  /** As JSON, shortened; never the value of a secret. */
  readonly received: string;
  /** `/etc/hearth/hearth.yaml`, `HEARTH_MQTT_URL` or `--mqtt-url`. */
  readonly origin: string;
}

/** `CONFIG_INVALID` with all problems at once. */
export class ConfigError extends HearthError {
  constructor(readonly problems: readonly ConfigProblem[]) {
    super('CONFIG_INVALID', problems.map(describe).join('; '));
  }
}

function describe({ path, expected, received, origin }: ConfigProblem): string {
  return `${path}: expected ${expected}, received ${received} (${origin})`;
}

export function suggestion(
  given: string,
  known: readonly string[],
  show: (name: string) => string = (name) => name,
): string {
  if (given.length > 128) return '';
  const letters = (name: string): string => [...name.toLowerCase()].sort().join('');
  const ranked = known
    // Two letters that changed places count as two edits, so between equals the same letters decide.
    .map((name) => ({
      name,
      edits: distance(given.toLowerCase(), name.toLowerCase()),
      moved: letters(name) === letters(given) ? 0 : 1,
    }))
    .sort((a, b) => a.edits - b.edits || a.moved - b.moved);
  const nearest = ranked[0];
  return nearest !== undefined && nearest.edits <= Math.max(2, Math.ceil(nearest.name.length / 3))
    ? ` (did you mean ${show(nearest.name)}?)`
    : '';
}

/** As JSON, at most 80 characters of it; without what a URL may carry before its @. */
export function show(value: unknown): string {
  const json =
    JSON.stringify(value, (_key, entry: unknown) => (typeof entry === 'bigint' ? `${entry}n` : entry)) ?? String(value);
  const safe = json.replace(/:\/\/[^@/]*@/g, '://***@');
  return safe.length > 80 ? `${safe.slice(0, 80)}...` : safe;
}

export function reasonOf(error: unknown): string {
  if (isRecord(error) && typeof error['code'] === 'string') return error['code'];
  return messageOf(error);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
