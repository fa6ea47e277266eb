/** What one run of a plugin may ask of the daemon: its jobs, events, topics and media; ended with it. */
import Ajv from 'ajv';
import { ulid } from 'ulid';
import { HearthError } from '../errors';
import type { AudioClip, GenerateResult, ModelInfo, RgbImage } from '../inference/types';
import type { Log } from '../log';
import type { JobRole } from '../streams/job-queue';
import type { EmitFields, PluginGenerateRequest, PluginManifest, PluginResult } from './api';
import { describeErrors } from './describe-errors';
import type { FunctionRegistry } from './function-registry';
import { resolveRequest } from './generate-request';
import { OwnFrames } from './own-frames';
import { OwnFunctions, type OwnFunctionsOptions } from './own-functions';
import { Partials } from './partials';
import type { PluginHostDependencies } from './ports';
import type { HostMethods, MediaPart } from './protocol';
import { Transferred } from './rpc';
import type { PluginStore } from './storage';
import { type JobRecord, resultEvent } from './stream-event';
import { Subscriptions } from './subscriptions';
import { type Task, Tasks } from './task';
import type { TopicRules } from './topic-rules';

export interface PluginServicesOptions extends PluginHostDependencies {
  readonly manifest: () => PluginManifest;
  readonly rules: () => TopicRules;
  readonly model: ModelInfo;
  readonly deliver: (filter: string, topic: string, payload: Uint8Array<ArrayBuffer>) => Promise<void>;
  readonly functions: FunctionRegistry;
  readonly runFunction: OwnFunctionsOptions['run'];
  /** Those of the run before, while this one takes over from it. */
  readonly predecessor?: () => PluginServices | undefined;
  readonly store: PluginStore;
  readonly onJob: () => void;
  readonly log: Log;
}

/** Ended jobs an event can still refer to. */
const maxJobRecords = 64;

const isEmit = new Ajv({ allErrors: true, allowUnionTypes: true }).compile<EmitFields>({
  type: 'object',
  required: ['kind', 'item'],
  additionalProperties: false,
  properties: {
    kind: { type: 'string' },
    item: { type: 'object', required: ['id'], properties: { id: { type: 'string' } } },
    result: { type: 'object', required: ['job'], properties: { job: { type: 'string' } } },
    text: { type: 'string', maxLength: 1 << 20 },
    summary: { type: 'string', maxLength: 1 << 20 },
    lang: { type: 'string', pattern: '^[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*$' },
    call: {
      type: ['object', 'null'],
      required: ['name', 'arguments'],
      additionalProperties: false,
      properties: { name: { type: 'string' }, arguments: { type: 'object' } },
    },
    outcome: {
      type: 'object',
      required: ['id', 'status', 'name', 'arguments'],
      additionalProperties: false,
      properties: {
        id: { type: 'string', maxLength: 256 },
        status: { enum: ['executed', 'dry-run', 'pending', 'refused', 'rejected', 'expired'] },
        name: { type: 'string' },
        arguments: { type: 'object' },
        reason: { type: 'string', maxLength: 1024 },
        result: {},
        expires_ts: { type: 'number' },
      },
    },
    dry_run: { type: 'boolean' },
    late: { type: 'boolean' },
  },
});

/** A copy that can be moved to the worker. */
function copyOf(media: MediaPart): Transferred<MediaPart> {
  const moved: ArrayBuffer[] = [];
  const imageOf = (image: RgbImage): RgbImage => {
    const data = new Uint8Array(image.data);
    moved.push(data.buffer);
    return { ...image, data };
  };
  const audioOf = (audio: AudioClip): AudioClip => {
    const samples = new Float32Array(audio.samples);
    moved.push(samples.buffer);
    return { samples };
  };
  const copy = (): MediaPart => {
    switch (media.type) {
      case 'image':
        return { type: 'image', image: imageOf(media.image) };
      case 'audio':
        return { type: 'audio', audio: audioOf(media.audio) };
      case 'video':
        return {
          ...media,
          frames: media.frames.map(({ image, timeMs }) => ({ image: imageOf(image), timeMs })),
          ...(media.sounds !== undefined && {
            sounds: media.sounds.map(({ audio, timeMs }) => ({ audio: audioOf(audio), timeMs })),
          }),
        };
    }
  };
  return new Transferred(copy(), moved);
}

const json = { contentType: 'application/json' } as const;

/** An object or an array: a bare word or number may be JSON by accident. */
function isJsonText(text: string): boolean {
  if (!/^\s*[{[]/.test(text)) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

export class PluginServices {
  readonly tasks = new Tasks();
  readonly methods: HostMethods;
  readonly #options: PluginServicesOptions;
  readonly #abort = new AbortController();
  readonly #jobs = new Map<string, JobRecord>();
  readonly subscriptions: Subscriptions;
  readonly #frames: OwnFrames;
  readonly #functions: OwnFunctions;
  /** Jobs, and calls of functions, that have not ended. */
  #running = 0;

  constructor(options: PluginServicesOptions) {
    this.#options = options;
    const { bus, store } = options;
    this.subscriptions = new Subscriptions({ ...options, predecessor: () => options.predecessor?.()?.subscriptions });
    this.#frames = new OwnFrames({ ...options, plugin: () => options.manifest().name, tasks: this.tasks });
    this.#functions = new OwnFunctions({
      registry: options.functions,
      plugin: () => options.manifest().name,
      run: options.runFunction,
      graceMs: options.options.timing.functionGraceMs,
    });
    this.methods = {
      openFrame: (source) => this.#frames.open(source),
      fillFrame: async (id, bytes) => await this.#frames.fill(id, bytes),
      closeFrame: async (id, error) => await this.#frames.close(id, error),
      generate: async (request) => {
        options.onJob();
        return await this.#counted(this.#generate(request));
      },
      emit: async (fields) => await this.#emit(fields),
      publish: async (topic, payload, publishOptions) => {
        options.rules().checkPublish(String(topic));
        const { qos, retain } = publishOptions ?? {};
        await bus.publish(String(topic), payload, {
          qos: qos === 1 ? 1 : 0,
          retain: retain === true,
          ...(typeof payload === 'string' && { utf8: true, ...(isJsonText(payload) && json) }),
        });
      },
      subscribe: async (filter) => {
        options.rules().checkSubscribe(String(filter));
        await this.subscriptions.add(String(filter));
      },
      read: (ref) => copyOf(this.tasks.media(ref)),
      registerFunction: (declaration) => this.#functions.register(declaration),
      unregisterFunction: (name) => this.#functions.end(name),
      functions: () => options.functions.list(),
      callFunction: async (name, args, context) =>
        await this.#counted(options.functions.call(String(name), args, context)),
      storageGet: async (key) => await store.get(key),
      storageSet: async (key, json) => await store.set(key, json),
      storageDelete: async (key) => await store.delete(key),
      storageList: async (prefix) => await store.list(prefix),
    };
  }

  /** Whether nothing it was handed or asked for is still to end. */
  get idle(): boolean {
    const { tasks, subscriptions } = this;
    return tasks.size + this.#frames.openCount + subscriptions.inHand + this.#functions.inHand + this.#running === 0;
  }

  /**
   * Messages wait for the run that takes over, until it has subscribed and `release` says so. Calls go on to this run; its
   * functions stay until the other has them.
   */
  hold(): void {
    this.subscriptions.hold();
    this.#functions.keep();
  }

  /** From now on calls wait, too. */
  holdCalls(): void {
    this.#functions.hold();
  }

  release(): void {
    this.subscriptions.release();
    this.#functions.release();
  }

  /** Its jobs are cancelled, its subscriptions and functions end; frames it got by itself end in errors. */
  close(reason: HearthError): void {
    this.#abort.abort();
    this.#frames.closeAll(reason);
    this.subscriptions.close();
    this.#functions.close();
  }

  async #counted<T>(work: Promise<T>): Promise<T> {
    this.#running++;
    return await work.finally(() => this.#running--);
  }

  #task(id: unknown): Task {
    const task = this.tasks.find(String(id));
    if (task !== undefined) return task;
    throw new HearthError(
      'PLUGIN_EMIT_INVALID',
      `item: expected one whose handler runs, received ${JSON.stringify(String(id).slice(0, 40))}`,
    );
  }

  async #generate(request: PluginGenerateRequest): Promise<PluginResult> {
    const { engine, queue, bus, options, model } = this.#options;
    const resolved = resolveRequest(request, (ref) => this.tasks.media(ref));
    const task = request.item === undefined ? undefined : this.#task(request.item.id);
    const stream = task?.stream;
    const partials =
      stream?.policy.partials === true ? new Partials(bus, stream.item.stream, stream.item.id) : undefined;
    let firstTokenTs: number | undefined;
    const role = this.#roleOf(request);
    if (stream !== undefined && role !== undefined)
      this.#options.bargeIn?.check(role, stream.item.stream, stream.item.capturedTs);
    const priority = task?.priority ?? 0;
    const deadlineAt = task?.deadlineAt ?? Date.now() + options.defaultDeadlineMs;
    const result = await queue.submit<GenerateResult>({
      priority,
      deadlineAt,
      ...(stream !== undefined && { stream: stream.item.stream }),
      ...(role !== undefined && { role }),
      signal: this.#abort.signal,
      run: async (signal) =>
        await engine.generate(resolved, {
          priority,
          signal,
          deadlineAt,
          onText: (piece) => {
            firstTokenTs ??= Date.now() / 1000;
            partials?.push(piece);
          },
        }),
    });
    return { ...result, job: this.#remember({ result, model: model.name, firstTokenTs }) };
  }

  #roleOf({ bargeIn }: PluginGenerateRequest): JobRole | undefined {
    if (bargeIn === false) return undefined;
    return this.#options.manifest().emits?.includes('answer') === true ? 'answer' : 'result';
  }

  #remember(record: JobRecord): string {
    const job = ulid();
    this.#jobs.set(job, record);
    const [oldest] = this.#jobs.keys();
    if (this.#jobs.size > maxJobRecords && oldest !== undefined) this.#jobs.delete(oldest);
    return job;
  }

  async #emit(fields: EmitFields): Promise<void> {
    const { bus, options, manifest } = this.#options;
    if (!isEmit(fields))
      throw new HearthError('PLUGIN_EMIT_INVALID', `emit: ${describeErrors(isEmit.errors, 'event')}`);
    const { name, emits = [] } = manifest();
    if (!emits.includes(fields.kind)) {
      throw new HearthError(
        'PLUGIN_EMIT_INVALID',
        `emit: expected a kind of ${emits.join(' ') || 'none'}, received ${JSON.stringify(fields.kind.slice(0, 40))}`,
      );
    }
    const late = fields.late === true ? this.tasks.findEnded(fields.item.id) : undefined;
    const { stream } = late ?? this.#task(fields.item.id);
    if (stream === undefined)
      throw new HearthError('PLUGIN_EMIT_INVALID', 'emit: expected an item of a stream, received a request');
    const job = fields.result === undefined ? undefined : this.#jobs.get(fields.result.job);
    if (fields.result !== undefined && job === undefined) {
      throw new HearthError(
        'PLUGIN_EMIT_INVALID',
        `emit: expected the result of one of the last ${maxJobRecords} jobs`,
      );
    }
    const { item, emitted } = stream;
    const id = late !== undefined || emitted.has(fields.kind) ? ulid() : item.id;
    emitted.add(fields.kind);
    await bus.publishEvent(
      resultEvent(fields, item, job, { id, node: options.node, plugin: name, ts: Date.now() / 1000 }),
    );
  }
}
