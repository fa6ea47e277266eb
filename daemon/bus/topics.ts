/**
 * Every topic hearth uses, in one place: how it is built, what is checked, and what its payload is. Nothing else in the
 * daemon joins strings into a topic.
 */
import type { ClusterMessage } from '../cluster/messages';
import { type ErrorCode, HearthError } from '../errors';
import { type EventKind, eventKinds, type StreamEvent } from '../events';
import type { ModelUpdate } from '../models/model-update';
import type { LogLine, PartialText, PluginState } from './bus';

/** What is published on each topic and expected on each input. `<base>` is `mqtt.baseTopic`. */
export interface TopicPayloads {
  '<base>/<node>/state': { readonly state: 'online' | 'offline' };
  '<base>/<node>/info': Readonly<Record<string, unknown>>;
  '<base>/<node>/health': Readonly<Record<string, unknown>>;
  '<base>/<node>/log': LogLine;
  '<base>/<node>/model/update': ModelUpdate;
  '<base>/<node>/plugin/<name>/state': PluginState;
  '<base>/<node>/request/<verb>': Readonly<Record<string, unknown>>;
  '<base>/<node>/response/<verb>': ResponsePayload;
  '<base>/<node>/out/<stream>/<kind>': StreamEvent;
  '<base>/<node>/out/<stream>/<kind>/last': StreamEvent;
  '<base>/<node>/out/<stream>/events': StreamEvent & { readonly event_type: EventKind };
  '<base>/<node>/out/<stream>/partial': PartialText;
  '<base>/cluster/<cluster>/node/<node>': ClusterMessage;
  '<base>/cluster/<cluster>/request/<verb>': Readonly<Record<string, unknown>>;
  '<base>/cluster/<cluster>/response/<verb>': ResponsePayload;
  /** A JPEG, PNG or WebP, or JSON or a data URL that carries one. */
  '<base>/in/<stream>/frame': Buffer;
  /** A self-contained WAV chunk, or raw PCM as configured. */
  '<base>/in/<stream>/audio': Buffer;
  '<base>/in/<stream>/audio/end': Buffer;
}

/** `id` is null where the request was too broken to have one. */
export type ResponsePayload =
  | { readonly id: string | null; readonly ok: true; readonly data: unknown }
  | {
      readonly id: string | null;
      readonly ok: false;
      readonly error: { readonly code: ErrorCode | (string & {}); readonly message: string };
    };

export type InputKind = 'frame' | 'audio' | 'audio/end';

const nameForm = /^[a-z0-9_-]{1,64}$/;
const verbForm = /^[a-z0-9_-]{1,64}(\/[a-z0-9_-]{1,64})?$/;
/** MQTT's own limit for a UTF-8 string, in bytes. */
const maxTopicBytes = 65_535;

/** True for a node, stream or plugin name: `[a-z0-9_-]`, 1 to 64 characters. */
export function isName(name: string): boolean {
  return nameForm.test(name);
}

/** Throws `STREAM_NAME_INVALID` unless `name` can be one level of a topic. */
export function checkStreamName(name: string): string {
  if (!isName(name)) {
    throw new HearthError(
      'STREAM_NAME_INVALID',
      `stream name: expected 1 to 64 of a-z 0-9 _ -, received ${quote(name)}`,
    );
  }
  return name;
}

function checkName(what: string, name: string): string {
  if (!isName(name)) {
    throw new HearthError('BUS_TOPIC_INVALID', `${what}: expected 1 to 64 of a-z 0-9 _ -, received ${quote(name)}`);
  }
  return name;
}

/** Throws `BUS_TOPIC_INVALID` unless one may publish on `topic`. */
export function checkTopic(topic: string): string {
  if (topic.length === 0 || /[+#\0]/.test(topic) || !isWellFormed(topic) || Buffer.byteLength(topic) > maxTopicBytes) {
    throw new HearthError(
      'BUS_TOPIC_INVALID',
      `topic: expected text without + # or NUL, 1 to ${maxTopicBytes} bytes, received ${quote(topic)}`,
    );
  }
  return topic;
}

/** Throws `BUS_TOPIC_INVALID` unless `filter` is a topic filter: `+` a whole level, `#` the whole last level. */
export function checkFilter(filter: string): string {
  const levels = filter.split('/');
  const fits = levels.every(
    (level, index) => !/[+#]/.test(level) || level === '+' || (level === '#' && index === levels.length - 1),
  );
  if (
    filter.length === 0 ||
    filter.includes('\0') ||
    !fits ||
    !isWellFormed(filter) ||
    Buffer.byteLength(filter) > maxTopicBytes
  ) {
    throw new HearthError(
      'BUS_TOPIC_INVALID',
      `topic filter: expected + as a whole level and # only as the last, received ${quote(filter)}`,
    );
  }
  return filter;
}

/** Whether a topic matches a filter, by MQTT 5 section 4.7: wildcards in the first level do not match `$` topics. */
export function matchesFilter(filter: string, topic: string): boolean {
  const filterLevels = filter.split('/');
  const topicLevels = topic.split('/');
  if (topic.startsWith('$') && (filterLevels[0] === '+' || filterLevels[0] === '#')) {
    return false;
  }
  for (const [index, level] of filterLevels.entries()) {
    if (level === '#') {
      return true;
    }
    const actual = topicLevels[index];
    if (actual === undefined || (level !== '+' && level !== actual)) {
      return false;
    }
  }
  return filterLevels.length === topicLevels.length;
}

/** Whether a filter that ends in `#` can match a topic at or under `prefix`. */
export function multilevelReaches(filter: string, prefix: string): boolean {
  const filterLevels = filter.split('/');
  if (filterLevels.pop() !== '#') {
    return false;
  }
  const prefixLevels = prefix.split('/');
  return filterLevels.every((level, index) => {
    const other = prefixLevels[index];
    return other === undefined || level === '+' || level === other;
  });
}

/** Builders for one node under one base topic; each checks the names it is given. */
export class Topics {
  readonly state: string;
  readonly info: string;
  readonly health: string;
  readonly log: string;
  readonly modelUpdate: string;
  /** The two filters that together take requests of one- and two-level verbs. */
  readonly requestFilters: readonly [string, string];
  private readonly root: string;

  constructor(
    readonly base: string,
    readonly node: string,
  ) {
    for (const level of base.split('/')) {
      if (!/^[A-Za-z0-9_-]{1,64}$/.test(level)) {
        throw new HearthError(
          'BUS_TOPIC_INVALID',
          `base topic: expected levels of A-Z a-z 0-9 _ -, received ${quote(base)}`,
        );
      }
    }
    this.root = `${base}/${checkName('node id', node)}`;
    this.state = `${this.root}/state`;
    this.info = `${this.root}/info`;
    this.health = `${this.root}/health`;
    this.log = `${this.root}/log`;
    this.modelUpdate = `${this.root}/model/update`;
    this.requestFilters = [`${this.root}/request/+`, `${this.root}/request/+/+`];
  }

  request(verb: string): string {
    return `${this.root}/request/${checkVerb(verb)}`;
  }

  response(verb: string): string {
    return `${this.root}/response/${checkVerb(verb)}`;
  }

  /** The verb of a request topic, or undefined where it is none or the verb is malformed. */
  verbOf(topic: string): string | undefined {
    const prefix = `${this.root}/request/`;
    const verb = topic.startsWith(prefix) ? topic.slice(prefix.length) : '';
    return verbForm.test(verb) ? verb : undefined;
  }

  pluginState(name: string): string {
    return `${this.root}/plugin/${checkName('plugin name', name)}/state`;
  }

  out(stream: string, kind: EventKind): string {
    if (!eventKinds.includes(kind)) {
      throw new HearthError(
        'BUS_TOPIC_INVALID',
        `event kind: expected one of ${eventKinds.join(' ')}, received ${quote(String(kind))}`,
      );
    }
    return `${this.root}/out/${checkStreamName(stream)}/${kind}`;
  }

  outLast(stream: string, kind: EventKind): string {
    return `${this.out(stream, kind)}/last`;
  }

  outEvents(stream: string): string {
    return `${this.root}/out/${checkStreamName(stream)}/events`;
  }

  outPartial(stream: string): string {
    return `${this.root}/out/${checkStreamName(stream)}/partial`;
  }

  /** `<base>/in/<stream>/<kind>`; without a stream, the filter for any stream. */
  in(kind: InputKind, stream?: string): string {
    return `${this.base}/in/${stream === undefined ? '+' : checkStreamName(stream)}/${kind}`;
  }

  /** Stream (unchecked, as it came) and kind of an input topic, or undefined where it is none. */
  parseIn(topic: string): { readonly stream: string; readonly kind: InputKind } | undefined {
    const prefix = `${this.base}/in/`;
    if (!topic.startsWith(prefix)) {
      return undefined;
    }
    const [stream, ...rest] = topic.slice(prefix.length).split('/');
    const kind = rest.join('/');
    return stream !== undefined && isInputKind(kind) ? { stream, kind } : undefined;
  }
}

/** The level under the base topic that holds clusters; no node of one may have it for a name. */
export const clusterLevel = 'cluster';

/** What the nodes of one cluster have in common. */
export class ClusterTopics {
  /** Members' messages, requests of one-level verbs, and who is online. */
  readonly nodeFilter: string;
  readonly requestFilter: string;
  readonly stateFilter: string;
  /** Requests are sent to verbs under it. */
  readonly request: string;
  readonly #base: string;
  readonly #root: string;

  constructor(base: string, cluster: string) {
    this.#base = base;
    this.#root = `${base}/${clusterLevel}/${checkName('cluster name', cluster)}`;
    this.nodeFilter = `${this.#root}/node/+`;
    this.request = `${this.#root}/request`;
    this.requestFilter = `${this.request}/+`;
    this.stateFilter = `${base}/+/state`;
  }

  node(node: string): string {
    return `${this.#root}/node/${checkName('node id', node)}`;
  }

  response(verb: string): string {
    return `${this.#root}/response/${checkVerb(verb)}`;
  }

  /** The node of a node topic or of a state topic; undefined where there is none, or no name. */
  nodeOf(topic: string): string | undefined {
    return nameIn(topic, `${this.#root}/node/`, '') ?? nameIn(topic, `${this.#base}/`, '/state');
  }

  verbOf(topic: string): string | undefined {
    return nameIn(topic, `${this.request}/`, '');
  }

  /**
   * Whether an answer may go there: a topic outside of hearth, or one for answers. Not where it would speak for a node,
   * a camera or the broker.
   */
  isForAnswers(topic: string): boolean {
    if (topic.startsWith('$')) return false;
    return !topic.startsWith(`${this.#base}/`) || topic.startsWith(`${this.#root}/response/`);
  }
}

function nameIn(topic: string, prefix: string, suffix: string): string | undefined {
  if (!topic.startsWith(prefix) || !topic.endsWith(suffix)) return undefined;
  const name = topic.slice(prefix.length, topic.length - suffix.length);
  return isName(name) ? name : undefined;
}

function isInputKind(kind: string): kind is InputKind {
  return kind === 'frame' || kind === 'audio' || kind === 'audio/end';
}

/** Throws `BUS_TOPIC_INVALID` unless `verb` is one or two names with a slash between. */
export function checkVerb(verb: string): string {
  if (!verbForm.test(verb)) {
    throw new HearthError(
      'BUS_TOPIC_INVALID',
      `verb: expected name or name/name of a-z 0-9 _ -, received ${quote(verb)}`,
    );
  }
  return verb;
}

function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** Quoted for a message, at most 80 characters of it. */
function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
