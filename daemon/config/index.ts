export { optionTable, redact } from './describe';
export { type Config, type ConfigSources, configFlags, loadConfig, readMqttPassword } from './load';
export { isLoopback } from './loopback';
export { ConfigError, type ConfigProblem } from './problems';
export type { CameraConfig, MicrophoneConfig, ModelSourceConfig, PluginConfig, StreamConfig } from './schema';
export { type ServiceManager, serviceManager } from './service-manager';
export {
  changeProblem,
  type StreamChanges,
  type StreamKind,
  type StreamOptions,
  settableValues,
  withChanges,
} from './settable';
