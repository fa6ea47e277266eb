/** What the daemon tells the page; see `web-page.ts`. Only types: nothing of this file reaches the browser. */
export interface EventView {
  id: string;
  kind: string;
  stream: string;
  ts: number;
  latency_ms: number;
  text?: string;
  lang?: string;
  slice?: string;
  plugin?: string;
  truncated?: boolean;
  clip?: { frames: number; sounds: number; duration_ms: number };
  call?: { name: string; arguments: Record<string, unknown> } | null;
  error?: { code: string; message: string };
}

export interface StreamView {
  name: string;
  kind: 'camera' | 'microphone' | null;
  received: number;
  used: number;
  skipped: Record<string, number>;
  enabled: boolean;
  seen: boolean;
  picture: boolean;
}

export interface EngineView {
  phase: string;
  loaded: number | null;
  reason: string | null;
  model: { name: string; parameters: number; question: string } | null;
}

export interface PluginView {
  name: string;
  version: string | null;
  state: string;
  restarts: number;
  reason: string | null;
}

export interface UpdateView {
  installed_version: string | null;
  latest_version: string | null;
  title: string;
  in_progress: boolean;
  update_percentage: number | null;
  phase: 'idle' | 'downloading' | 'verifying' | 'loading';
  received_bytes: number;
  total_bytes: number | null;
  error: { code: string; message: string } | null;
}

export interface StatusView {
  broker: string;
  uptime_s: number;
  memory_bytes: number;
  queue: { depth: number; running: number };
  slice: string;
  image_size: number | null;
  governor: { level: number; why: string };
  temperature_c: number | null;
  throttled: string[];
  streams: StreamView[];
}

export interface Sample {
  ts: number;
  waiting: number;
  running: number;
  latency_ms: number | null;
  temperature_c: number | null;
  slice: string;
  tokens_per_second: number;
}

export interface Snapshot {
  node: string;
  version: string;
  last_id: string;
  login: boolean;
  engine: EngineView;
  update: UpdateView | null;
  status: StatusView;
  plugins: PluginView[];
  samples: Sample[];
  events: EventView[];
}
