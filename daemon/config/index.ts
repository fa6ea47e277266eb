export { optionTable, redact } from './describe';
export {
  type CameraConfig,
  type Config,
  ConfigError,
  configFlags,
  type ConfigProblem,
  type ConfigSources,
  loadConfig,
  type MicrophoneConfig,
  type PluginConfig,
  type StreamConfig,
} from './load';
