/** A plugin's context that answers jobs with set replies and records what the plugin does. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { matchesFilter } from '../../../daemon/bus/topics';
import type {
  ClipItem,
  EmitFields,
  FrameItem,
  ModelInfo,
  Plugin,
  PluginContext,
  PluginGenerateRequest,
  PluginResult,
  RequestItem,
  SegmentItem,
} from '../../../daemon/plugins/api';
import { checkManifest } from '../../../daemon/plugins/manifest';
import { resolveConfig } from '../../../daemon/plugins/plugin-config';

export const model: ModelInfo = {
  name: 'nano',
  architecture: 'gemma3n',
  parameters: 1,
  layers: 1,
  contextLength: 512,
  modalities: ['text', 'image', 'audio'],
  slices: ['full'],
  sliceInfos: [{ name: 'full', decodeMacs: 1e7, prefillMacs: 5e6, kvGroup: 0, published: true }],
  loadedSlice: 'full',
  imageSizes: [256],
  imageSize: 256,
  maxAudioSeconds: 30,
  isa: 'scalar',
  threads: 1,
  memory: {
    kvType: 'f16',
    kvBytes: 2,
    kvBytesF16: 2,
    kvBytesQ8: 1,
    sessions: 1,
    weightBytes: 10,
    encoderBytes: 0,
    totalBytes: 20,
  },
  prompts: {
    caption: 'Describe the image.',
    video: 'What happens?',
    transcribe: 'Transcribe the audio.',
    translateAudio: 'Translate the audio into {lang}.',
    translate: 'Translate into {lang}: {text}',
    call: 'Answer with one JSON function call, or null.\n{text}',
    languages: { en: 'English', es: 'Spanish', de: 'German' },
  },
};

export const frame: FrameItem = {
  kind: 'frame',
  id: '01FRAME',
  stream: 'front',
  capturedTs: 1_795_500_000,
  topic: 'hearth/in/front/frame',
  sha256: 'a'.repeat(64),
  media: { ref: 'frame-ref' },
  width: 2,
  height: 2,
};

export const segment: SegmentItem = {
  kind: 'segment',
  id: '01SEGMENT',
  stream: 'kitchen',
  capturedTs: 1_795_500_000,
  topic: 'hearth/in/kitchen/audio',
  sha256: 'b'.repeat(64),
  media: { ref: 'segment-ref' },
  durationMs: 1200,
};

export const clip: ClipItem = {
  kind: 'clip',
  id: '01CLIP',
  stream: 'drive',
  capturedTs: 1_795_500_000,
  topic: 'hearth/in/drive/frame',
  sha256: 'c'.repeat(64),
  media: { ref: 'clip-ref' },
  frames: 5,
  sounds: 1,
  durationMs: 8000,
};

export function request(
  verb: string,
  payload: Readonly<Record<string, unknown>>,
  media: Pick<RequestItem, 'image' | 'audio'> = {},
): RequestItem {
  return { kind: 'request', id: 'r1', verb, payload, ...media };
}

export interface Reply {
  readonly text: string;
  readonly finishReason?: PluginResult['finishReason'];
}

export interface Published {
  readonly topic: string;
  readonly payload: string | Uint8Array;
  readonly options: { readonly qos?: 0 | 1; readonly retain?: boolean } | undefined;
}

/** Starts `plugin` as the daemon does: manifest checked, configuration checked and filled in. */
export async function start<Config>(
  plugin: Plugin<Config>,
  config: Readonly<Record<string, unknown>> = {},
  replies: readonly Reply[] = [],
  info: ModelInfo = model,
) {
  const manifest = checkManifest(JSON.parse(JSON.stringify(plugin.manifest)), plugin.manifest.name);
  const jobs: PluginGenerateRequest[] = [];
  const events: EmitFields[] = [];
  const published: Published[] = [];
  const handlers = new Map<string, (request: RequestItem) => unknown>();
  const subscriptions = new Map<string, (topic: string, payload: Uint8Array) => unknown>();
  const warnings: { readonly message: string; readonly fields: unknown }[] = [];
  const failures: unknown[] = [];
  let onFrame: ((item: FrameItem) => unknown) | undefined;
  let onSegment: ((item: SegmentItem) => unknown) | undefined;
  let onClip: ((item: ClipItem) => unknown) | undefined;
  const log = () => undefined;
  const ctx: PluginContext<Config> = {
    config: resolveConfig(manifest, config) as Config,
    node: 'pi5',
    baseTopic: 'hearth',
    model: info,
    signal: new AbortController().signal,
    log: { debug: log, info: log, warn: (message, fields) => void warnings.push({ message, fields }), error: log },
    onFrame: (handler) => {
      onFrame = handler;
    },
    onSegment: (handler) => {
      onSegment = handler;
    },
    onClip: (handler) => {
      onClip = handler;
    },
    onRequest: (verb, handler) => void handlers.set(verb, handler),
    generate: async (job) => {
      const reply = replies[jobs.length];
      jobs.push(job);
      if (reply === undefined) throw new Error('the test has no reply for this job');
      return {
        text: reply.text,
        finishReason: reply.finishReason ?? 'stop',
        tokens: { prompt: 7, completion: 3, cached: 0 },
        timings: { encode: 0, prefill: 0, decode: 0, waiting: 0, firstToken: 0, total: 0 },
        slice: 'full',
        job: `job-${jobs.length}`,
      };
    },
    emit: async (fields) => void events.push(fields),
    publish: async (topic, payload, options) => void published.push({ topic, payload, options }),
    subscribe: async (filter, handler) => void subscriptions.set(filter, handler),
    withFrame: async ({ load, ...source }, handler) => {
      try {
        await load();
        return await handler({ ...frame, ...source });
      } catch (error) {
        failures.push(error);
        throw error;
      }
    },
    storage: {} as never,
    metrics: {} as never,
    read: () => Promise.reject(new Error('the built-in plugins need no pixels')),
  };
  await plugin.start(ctx);
  return {
    jobs,
    events,
    published,
    warnings,
    /** What ended frames of the plugin's own. */
    failures,
    filters: () => [...subscriptions.keys()],
    /** A message to everyone who subscribed to it. */
    receive: async (topic: string, payload: unknown) => {
      const bytes = Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload));
      for (const [filter, handler] of subscriptions) if (matchesFilter(filter, topic)) await handler(topic, bytes);
    },
    stop: async () => await plugin.stop?.(),
    takesFrames: onFrame !== undefined,
    takesSegments: onSegment !== undefined,
    frame: async (item: FrameItem) => await onFrame?.(item),
    segment: async (item: SegmentItem) => await onSegment?.(item),
    clip: async (item: ClipItem) => await onClip?.(item),
    request: async (item: RequestItem) => await handlers.get(item.verb)?.(item),
  };
}

/** The texts of a job's only message, and the reference in it. */
export function contentOf(job: PluginGenerateRequest | undefined): {
  readonly texts: string[];
  readonly refs: string[];
} {
  const parts = job?.messages.flatMap((message) => message.parts) ?? [];
  return {
    texts: parts.flatMap((part) => (part.type === 'text' ? [part.text] : [])),
    refs: parts.flatMap((part) => (part.type === 'media' ? [part.media.ref] : [])),
  };
}

/** The eight rooms and six functions of the demo. */
const room = { enum: ['kitchen', 'bedroom', 'living_room', 'bathroom', 'garage', 'garden', 'office', 'hallway'] };
const on = { type: 'boolean' };

function demoFunction(name: string, properties: Readonly<Record<string, unknown>>, topic?: string) {
  return {
    name,
    description: `${name} of the demo`,
    parameters: { type: 'object', properties, required: Object.keys(properties), additionalProperties: false },
    ...(topic !== undefined && { publish: { topic } }),
  };
}

export const demoFunctions = [
  demoFunction('set_light', { room, on }, 'home/{arguments.room}/light/set'),
  demoFunction(
    'set_temperature',
    { room, celsius: { type: 'integer', minimum: 15, maximum: 25 } },
    'home/{arguments.room}/heating/set',
  ),
  demoFunction(
    'set_lock',
    { door: { enum: ['front', 'back', 'garage'] }, locked: on },
    'home/lock/{arguments.door}/set',
  ),
  demoFunction('set_blinds', { room, open: on }, 'home/{arguments.room}/blinds/set'),
  demoFunction('play_music', { room, on }, 'home/{arguments.room}/music/set'),
  demoFunction('get_temperature', { room }),
];

export const readme = (name: string): string => readFileSync(join(process.cwd(), 'plugins', name, 'README.md'), 'utf8');
