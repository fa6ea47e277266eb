/** What goes on the `info` topic: who this daemon is and what it takes. Never a secret, never a path. */
import { ClusterTopics } from './bus/topics';
import type { Config } from './config';
import type { EngineState } from './inference/types';
import { apiVersion } from './plugins/api';
import type { PluginStatus } from './plugins/supervisor';
import { streamsOptions } from './streams/options';
import { version } from './version';

export interface Info extends Readonly<Record<string, unknown>> {
  readonly version: string;
  /** Of the plugin API. */
  readonly api_version: string;
  readonly node: string;
  readonly model: Readonly<Record<string, unknown>> | null;
  /** What `model/pull` takes. */
  readonly sources: readonly string[];
  readonly modalities: readonly string[];
  readonly limits: Config['limits'];
  /** Its cluster, and where that is asked; null outside of one. */
  readonly cluster: { readonly name: string; readonly request: string } | null;
  /** The configured ones; others show up when they send something. */
  readonly streams: readonly {
    readonly name: string;
    readonly kind: 'camera' | 'microphone';
    readonly topics: readonly string[];
  }[];
  /** Topics that name their stream in the level `{stream}`. */
  readonly inputs: { readonly cameras: readonly string[]; readonly microphones: readonly string[] };
  readonly plugins: readonly {
    readonly name: string;
    readonly version: string | null;
    readonly verbs: readonly string[];
  }[];
}

/** What changes with the model. */
export interface ModelFacts {
  /** Slice of all jobs that name none, where one is pinned. */
  readonly pinned: string | undefined;
  /** Names of the models that may be downloaded. */
  readonly sources: readonly string[];
}

export function describeDaemon(
  config: Config,
  engine: EngineState,
  plugins: readonly PluginStatus[],
  { pinned, sources }: ModelFacts,
): Info {
  const model = engine.phase === 'ready' ? engine.info : undefined;
  const { patterns } = streamsOptions(config);
  const templates = (kind: 'frame' | 'audio'): string[] =>
    patterns.filter((pattern) => pattern.kind === kind).map(({ template }) => template);
  return {
    version,
    api_version: apiVersion,
    node: config.node.id,
    model:
      model === undefined
        ? null
        : {
            name: model.name,
            architecture: model.architecture,
            parameters: model.parameters,
            layers: model.layers,
            context_length: model.contextLength,
            slices: model.slices,
            slice: pinned ?? model.loadedSlice,
            loaded_slice: model.loadedSlice,
            image_sizes: model.imageSizes,
            max_audio_seconds: model.maxAudioSeconds,
            languages: Object.keys(model.prompts.languages),
            isa: model.isa,
            threads: model.threads,
            memory: {
              total_bytes: model.memory.totalBytes,
              weight_bytes: model.memory.weightBytes,
              encoder_bytes: model.memory.encoderBytes,
              kv_type: model.memory.kvType,
              kv_bytes: model.memory.kvBytes,
              kv_bytes_f16: model.memory.kvBytesF16,
              kv_bytes_q8_0: model.memory.kvBytesQ8,
              sessions: model.memory.sessions,
            },
          },
    sources,
    modalities: model?.modalities ?? [],
    limits: config.limits,
    cluster:
      config.cluster.name === null
        ? null
        : {
            name: config.cluster.name,
            request: `${new ClusterTopics(config.mqtt.baseTopic, config.cluster.name).request}/<verb>`,
          },
    streams: Object.entries(config.streams).map(([name, { kind, topics }]) => ({ name, kind, topics })),
    inputs: { cameras: templates('frame'), microphones: templates('audio') },
    plugins: plugins.map(({ name, version: pluginVersion, verbs }) => ({
      name,
      version: pluginVersion ?? null,
      verbs,
    })),
  };
}
