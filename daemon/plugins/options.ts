/** The configuration, as the plugin host reads it. */
import type { CameraConfig, Config, MicrophoneConfig, StreamOptions } from '../config';
import type { StreamSettings } from './api';
import { defaultTiming, type PluginHostOptions, type PluginSettings, type StreamPolicy } from './ports';

/** These run without being listed. */
export const builtInPlugins = ['captions', 'transcribe', 'translate', 'function-calls'] as const;

const defaultMemoryMb = 128;
const defaultHangTimeoutSeconds = 10;

type Defaults = StreamOptions<CameraConfig | MicrophoneConfig>;

function settingsOf({ prompt, language }: Pick<Defaults, 'prompt' | 'language'>): StreamSettings {
  return { ...(prompt !== null && { prompt }), ...(language !== null && { language }) };
}

function policyOf(stream: Defaults, config: Config): StreamPolicy {
  const { priority, deadlineMs, plugins, partials } = stream;
  return {
    priority,
    deadlineMs: deadlineMs ?? config.queue.defaultDeadlineMs,
    ...(plugins !== null && { plugins }),
    settings: settingsOf(stream),
    partials,
  };
}

/** The plugins that run. */
export function pluginsOf(config: Pick<Config, 'plugins'>): PluginSettings[] {
  const names = new Set<string>([...builtInPlugins, ...Object.keys(config.plugins)]);
  return Array.from(names).flatMap((name) => {
    const given = Object.hasOwn(config.plugins, name) ? config.plugins[name] : undefined;
    if (given?.enabled === false) return [];
    return [
      {
        name,
        ...(typeof given?.path === 'string' && { path: given.path }),
        config: given?.config ?? {},
        memoryMb: given?.memoryMb ?? defaultMemoryMb,
        ...(typeof given?.isolation === 'string' && { isolation: given.isolation }),
        hangTimeoutMs: (given?.hangTimeoutSeconds ?? defaultHangTimeoutSeconds) * 1000,
      },
    ];
  });
}

/** What holds for a stream now. */
export interface StreamOptionsNow {
  camera(stream: string): StreamOptions<CameraConfig>;
  microphone(stream: string): StreamOptions<MicrophoneConfig>;
}

export function pluginHostOptions(
  config: Config,
  requestPriority: number,
  streams: StreamOptionsNow,
): PluginHostOptions {
  return {
    node: config.node.id,
    baseTopic: config.mqtt.baseTopic,
    plugins: pluginsOf(config),
    policy: (kind, stream) =>
      policyOf(kind === 'segment' ? streams.microphone(stream) : streams.camera(stream), config),
    requestPriority,
    defaultDeadlineMs: config.queue.defaultDeadlineMs,
    maxAudioSeconds: config.limits.maxAudioSeconds,
    maxFrameBytes: config.limits.maxFrameBytes,
    timing: defaultTiming,
  };
}
