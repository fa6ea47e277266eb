/** What is known of the daemon and its streams from its own messages: `info`, and the latest events. */
import { gt, valid } from 'semver';
import type { StreamFacts } from './discovery';

/** Streams, and other nodes, that are remembered: whoever can publish makes up as many as they like. */
const limit = 64;

interface Info {
  readonly version: string;
  readonly model: string;
  /** Models that may be downloaded. */
  readonly sources: readonly string[];
  readonly streams: readonly {
    readonly name: string;
    readonly kind: 'camera' | 'microphone';
    readonly topics: readonly string[];
  }[];
  readonly patterns: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

function asRecord(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {};
}

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : [];
const isName = (name: unknown): name is string => typeof name === 'string' && /^[a-z0-9_-]{1,64}$/.test(name);

/** `kind` of an event a stream is known by. */
const kindOf: Readonly<Record<string, StreamFacts['kind']>> = {
  caption: 'camera',
  transcript: 'microphone',
  translation: 'microphone',
};

/** The filter of all pictures of the stream, where the topic of one is of the form of a pattern. */
function filterOf(pattern: string, topic: string): string | undefined {
  const [expected, levels] = [pattern.split('/'), topic.split('/')];
  const same = expected.every((level, index) => level === '+' || level === '{stream}' || level === levels[index]);
  if (!same || expected.length !== levels.length) return undefined;
  return expected.map((level, index) => (level === '{stream}' ? levels[index] : level)).join('/');
}

export class Facts {
  #info: Info | undefined;
  /** Streams that are not configured, with the topic their first picture came on. */
  readonly #seen = new Map<string, { readonly kind: StreamFacts['kind']; readonly topic: string }>();
  readonly #versions = new Map<string, string>();

  constructor(
    private readonly base: string,
    private readonly node: string,
  ) {}

  get info(): Info | undefined {
    return this.#info;
  }

  /** The newest version of hearth on this broker. */
  get newest(): string | undefined {
    return [...this.#versions.values()].reduce<string | undefined>(
      (newest, version) => (newest === undefined || gt(version, newest) ? version : newest),
      undefined,
    );
  }

  takeInfo(node: string, value: unknown): void {
    const { version, model, sources, streams, inputs } = asRecord(value);
    if (typeof version !== 'string' || valid(version) === null) return;
    if (this.#versions.has(node) || this.#versions.size < limit) this.#versions.set(node, version);
    if (node !== this.node) return;
    const { name } = asRecord(model);
    this.#info = {
      version,
      model: typeof name === 'string' ? name : 'no model',
      sources: texts(sources),
      streams: (Array.isArray(streams) ? streams : []).map(asRecord).flatMap((stream) => {
        const kind = stream['kind'];
        if (!isName(stream['name']) || (kind !== 'camera' && kind !== 'microphone')) return [];
        return [{ name: stream['name'], kind, topics: texts(stream['topics']) }];
      }),
      patterns: texts(asRecord(inputs)['cameras']),
    };
  }

  /** True when it made a stream known. */
  takeEvent(value: unknown): boolean {
    const { stream, kind, source } = asRecord(value);
    const known = typeof kind === 'string' && Object.hasOwn(kindOf, kind) ? kindOf[kind] : undefined;
    if (!isName(stream) || known === undefined || this.#seen.has(stream) || this.#seen.size >= limit) return false;
    const { topic } = asRecord(source);
    this.#seen.set(stream, { kind: known, topic: typeof topic === 'string' ? topic : '' });
    return true;
  }

  /** Those of the configuration first. */
  streams(): StreamFacts[] {
    const { streams = [], patterns = [] } = this.#info ?? {};
    const own = (name: string): string => `${this.base}/in/${name}/frame`;
    const listed = streams.map(({ name, kind, topics }): StreamFacts => {
      const [topic] = topics;
      return { name, kind, ...(kind === 'camera' && { imageTopic: topic ?? own(name) }) };
    });
    const others = [...this.#seen]
      .filter(([name]) => !streams.some((stream) => stream.name === name))
      .map(([name, { kind, topic }]): StreamFacts => {
        if (kind === 'microphone') return { name, kind };
        const filter = patterns.map((pattern) => filterOf(pattern, topic)).find((found) => found !== undefined);
        return { name, kind, imageTopic: filter ?? own(name) };
      });
    return [...listed, ...others];
  }
}
