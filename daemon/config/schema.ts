/** Every option there is. The README's table, the flags, the environment names and the `Config` type all come from here. */
import { hostname } from 'node:os';
import { checkFilter, isName } from '../bus/topics';
import { pcmEncodings } from '../media/pcm';
import { rawPixelFormats } from '../media/raw-frame';
import { isScheduleEntry, isTimeZone } from '../streams/schedule';
import {
  choice,
  flag,
  integer,
  list,
  map,
  number,
  type Option,
  optionalChoice,
  optionalInteger,
  optionalList,
  optionalPath,
  optionalPattern,
  optionalSize,
  optionalText,
  pattern,
  text,
  type Values,
} from './option';

const hour = 3_600_000;

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;

function isFilter(filter: string): boolean {
  try {
    checkFilter(filter);
    return true;
  } catch {
    return false;
  }
}

/** User name and password in a URL end up in logs and process lists, so a URL that has them is refused. */
function isBrokerUrl(url: string): boolean {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  return (
    parsed !== undefined &&
    /^(mqtts?|wss?):$/.test(parsed.protocol) &&
    parsed.hostname !== '' &&
    parsed.username === '' &&
    parsed.password === ''
  );
}

/** A topic filter in which one whole level is `{stream}`. */
function isInputTemplate(template: string): boolean {
  const named = template.split('/').filter((level) => level === '{stream}').length;
  const filter = template.replace('{stream}', '+');
  return named === 1 && isFilter(filter) && !filter.includes('#') && !/[{}]/.test(filter);
}

/** Four fractions with spaces between: left, top, width, height. */
function isRegion(text: string): boolean {
  const numbers = text.trim().split(/\s+/);
  const [x = 0, y = 0, width = 0, height = 0] = numbers.map(Number);
  const inside = numbers.every((number) => /^(0|1|0?\.\d{1,6}|1\.0{1,6})$/.test(number));
  return numbers.length === 4 && inside && width > 0 && height > 0 && x + width <= 1.000001 && y + height <= 1.000001;
}

/** It has to fit into a header. */
export function isToken(token: string): boolean {
  return /^[!-~]{16,512}$/.test(token);
}

const commonStream = {
  enabled: flag('Use what comes in; switched off, it is skipped as disabled.', true),
  schedule: list(
    'When it is used, such as `mon-fri 07:00-22:00` or `22:00-06:00` in `timezone`; always, where there is none. What comes at other times is skipped as scheduled-off.',
    'times such as mon-fri 07:00-22:00',
    isScheduleEntry,
  ),
  plugins: optionalList('Names of the plugins that are handed this stream.', 'plugin names', isName, {
    defaultDoc: 'every plugin that takes its kind',
  }),
  priority: integer(
    'Jobs of a higher priority are let in first and get more of the engine: twice as much a level.',
    0,
    0,
    9,
  ),
  deadlineMs: optionalInteger('A job that has waited this long is skipped.', 1, hour),
  prompt: optionalText(
    'Prompt for this stream instead of the model’s own; for captions, the question about the picture.',
  ),
  language: optionalPattern(
    'ISO 639-1 code: of the captions of a camera, of what is spoken into a microphone.',
    'a language code such as en',
    (value) => /^[a-z]{2,3}$/.test(value),
  ),
  acceptRetained: flag('Use retained frames and chunks too, which a broker replays on every connection.', false),
  partials: flag('Publish the text while it is being generated, at most four times a second.', false),
} as const;

const camera = {
  ...commonStream,
  minIntervalMs: integer('Frames that come sooner after the last used one are skipped as rate-limited.', 1000, 0, hour),
  duplicateThreshold: number(
    'Frames whose luma (0..255) differs less than this on average from the last used one, and without motion, are skipped as duplicates; 0 takes all frames.',
    2,
    0,
    255,
  ),
  motion: {
    threshold: number(
      'A frame is used when a part of it changed by this much luma (0..255), whatever the mean says; less is no motion. 0: only the mean counts.',
      12,
      0,
      255,
    ),
    minArea: number('Fraction of the picture that has to change in one piece.', 0.002, 0, 1),
    ignore: list(
      'Where nothing counts, such as a clock in the picture or a street: left, top, width and height as fractions of the picture.',
      'rectangles such as 0 0 1 0.1',
      isRegion,
    ),
  },
  clip: {
    seconds: number(
      'Gathers the frames of so many seconds into a clip, which is described as a whole; 0 describes single frames.',
      0,
      0,
      600,
    ),
    maxTokens: integer(
      'Soft tokens of a clip; a frame has 256, a sound 188. A clip that has used them up ends.',
      2048,
      256,
      32_768,
    ),
    sound: optionalPattern('Microphone stream whose speech belongs to the clips.', 'a stream name', isName),
  },
  showPicture: flag('Show the last picture on the web page, where `http.pictures` shows any.', true),
  raw: {
    pixelFormat: optionalChoice('Payloads are uncompressed frames of this format.', rawPixelFormats),
    width: optionalInteger('Width of raw frames in pixels.', 1, 16_384),
    height: optionalInteger('Height of raw frames in pixels.', 1, 16_384),
  },
} as const;

const microphone = {
  ...commonStream,
  priority: integer(
    'Jobs of a higher priority are let in first and get more of the engine: twice as much a level.',
    5,
    0,
    9,
  ),
  audio: {
    format: choice('`wav`: every chunk is a WAV file of its own; otherwise the encoding of raw PCM.', 'wav', [
      'wav',
      ...pcmEncodings,
    ]),
    sampleRate: integer('Sample rate of raw PCM in Hz.', 16_000, 4000, 192_000),
    channels: integer('Channels of raw PCM, interleaved.', 1, 1, 8),
    mode: choice('`vad` finds speech by itself; `push-to-talk` takes everything until `audio/end`.', 'vad', [
      'vad',
      'push-to-talk',
    ]),
    preRollMs: integer('Audio kept before the first voiced frame.', 300, 0, 5000),
    endSilenceMs: integer('A pause this long ends a segment.', 700, 100, 10_000),
    keepSilenceMs: integer('Silence left at the end of a segment.', 400, 0, 10_000),
    minSpeechMs: integer('A segment with less speech is skipped as too short.', 200, 0, 30_000),
    bargeIn: choice(
      'What is cancelled when someone begins to speak: `answers` that are being written for this stream; `all` that is made of what was said before, calls and translations, but transcripts; or nothing.',
      'answers',
      ['none', 'answers', 'all'],
    ),
    bargeInStreams: list('Streams beside this one for which it is cancelled.', 'stream names', isName),
    vadAggressiveness: integer('How strict the detector is: 0 takes the most for speech, 3 the least.', 2, 0, 3),
  },
} as const;

/** Credentials in a URL end up in logs; they belong in a file of their own. */
function isDownloadUrl(url: string): boolean {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  return (
    parsed !== undefined &&
    /^https?:$/.test(parsed.protocol) &&
    parsed.username === '' &&
    parsed.password === '' &&
    url.length <= 2048
  );
}

const download = {
  url: optionalPattern(
    'Where the GGUF file is.',
    'a URL such as https://host/model.gguf, without user and password',
    isDownloadUrl,
  ),
  sha256: optionalPattern('SHA-256 of the file.', '64 hexadecimal digits', (value) => /^[0-9a-fA-F]{64}$/.test(value)),
  bytes: optionalInteger('Size of the file; one of another size is refused before it is downloaded.', 1, 2 ** 40, {
    defaultDoc: 'what the server says',
  }),
} as const;

/** One entry of `model.sources`. */
export const modelSourceSchema = {
  ...download,
  version: optionalPattern(
    'Version of the model.',
    '1 to 64 of A-Z a-z 0-9 . _ + -',
    (value) => /^[A-Za-z0-9._+-]{1,64}$/.test(value),
    { defaultDoc: 'the first digits of a hash' },
  ),
  title: optionalText('Name to show.', { defaultDoc: 'that of the entry' }, 128),
  tokenFile: optionalPath('File with a token for the host of `url`, sent as `Authorization: Bearer`.'),
  mmproj: download,
} as const;

const topics = list(
  'More topic filters that feed this stream, beside `<base>/in/<name>/...`.',
  'topic filters',
  isFilter,
);

/** One entry of `streams`, by kind. What it leaves out comes from `defaults.<kind>`. */
export const streamSchemas = {
  camera: { kind: choice('What the stream is.', 'camera', ['camera']), topics, ...camera },
  microphone: { kind: choice('What the stream is.', 'microphone', ['microphone']), topics, ...microphone },
} as const;

/** One entry of `plugins`. */
export const pluginSchema = {
  enabled: flag('Start it.', true),
  path: optionalPath('Directory or file of a plugin that is not built in.'),
  memoryMb: integer('Megabytes of heap it may take, and again of buffers.', 128, 16, 4096),
  hangTimeoutSeconds: integer('A plugin that answers nothing for this long is restarted.', 10, 1, 600),
  isolation: optionalChoice('What it runs in: a thread of the daemon, or a process.', ['worker', 'process'], {
    defaultDoc: 'what its manifest says, else `worker`',
  }),
  config: map('Its own options; checked against the schema in its manifest.'),
} as const;

export const schema = {
  node: {
    id: pattern(
      'Name of this device in topics.',
      defaultNodeId(hostname()),
      '1 to 64 of a-z 0-9 _ -',
      /^[a-z0-9_-]{1,64}$/,
      {
        defaultDoc: 'from the host name',
      },
    ),
  },
  mqtt: {
    url: optionalPattern(
      'MQTT broker: `mqtt:`, `mqtts:`, `ws:` or `wss:`.',
      'a URL such as mqtts://host:8883, without user and password',
      isBrokerUrl,
      {
        defaultDoc: 'an embedded broker on loopback',
      },
    ),
    baseTopic: pattern(
      'First level or levels of every topic.',
      'hearth',
      'levels of A-Z a-z 0-9 _ -',
      /^[A-Za-z0-9_-]{1,64}(\/[A-Za-z0-9_-]{1,64}){0,7}$/,
    ),
    clientId: optionalPattern(
      'MQTT client id; the second connection adds `-in`.',
      '1 to 60 printable ASCII characters',
      (value) => /^[!-~]{1,60}$/.test(value),
      {
        defaultDoc: 'hearth-<node.id>',
      },
    ),
    username: optionalText('MQTT user name.', {}, 256),
    password: optionalText(
      'MQTT password; prefer `passwordFile`, since flags and the environment are visible to others.',
      { sensitive: true },
    ),
    passwordFile: optionalPath('File that holds the MQTT password.'),
    tls: {
      caFile: optionalPath('PEM file of the certificate authority.', { defaultDoc: 'those of Node' }),
      certFile: optionalPath('PEM file of the client certificate.'),
      keyFile: optionalPath('PEM file of the client’s private key.'),
      rejectUnauthorized: flag('Refuse a broker whose certificate does not check out.', true),
    },
    protocol: choice('MQTT version: 5, 4 (3.1.1), or 5 and 4 where the broker refuses 5.', 'auto', ['auto', 5, 4]),
    keepaliveSeconds: integer(
      'A connection without a sign of life for 1.5 times this long is taken for dead.',
      30,
      5,
      3600,
    ),
    reconnectMaxSeconds: integer('Longest wait between two attempts to connect.', 30, 1, 3600),
    eventExpirySeconds: integer(
      'Events a subscriber has not fetched after this long are dropped (MQTT 5).',
      60,
      1,
      86_400,
    ),
    outbox: {
      maxMessages: integer('Messages that may wait for the broker; then the oldest give way.', 1024, 16, 65_536),
      maxBytes: integer('Bytes of them, in memory and twice that on disk.', 16 << 20, 65_536, 1 << 30),
      maxSeconds: integer('How long a result or a response waits for a broker that is away.', 900, 1, 604_800),
    },
    embedded: {
      port: integer('Loopback port of the embedded broker; 0 takes a free one.', 1883, 0, 65_535),
    },
  },
  cluster: {
    name: optionalPattern(
      'Name of a cluster: nodes with the same one, on the same broker, divide streams and jobs among them.',
      '1 to 64 of a-z 0-9 _ -',
      isName,
    ),
    leaseSeconds: number(
      'A node that says nothing for twice this long is taken for gone, and its jobs go to others. The same on all nodes.',
      6,
      1,
      120,
    ),
    holdSeconds: number('A node that joins or comes back takes streams over after this long.', 30, 0, 3600),
    frames: choice(
      '`shared`: where the broker has shared subscriptions, each frame goes to another node; `assigned`: each camera has a node.',
      'shared',
      ['shared', 'assigned'],
    ),
  },
  model: {
    path: optionalPath('GGUF file of the model.'),
    multimodalPath: optionalPath('GGUF file of the vision and audio encoders.', {
      defaultDoc: '`mmproj-*.gguf` beside the model',
    }),
    directory: optionalPath('Where models are downloaded to.', { defaultDoc: '`models` in `stateDirectory`' }),
    sources: map('Models that may be downloaded, by name; nothing else ever is.'),
    threads: integer('Threads that compute; 0 takes one for each core.', 0, 0, 256),
    isa: optionalChoice(
      'Instruction set of the kernels.',
      ['scalar', 'x86_avx2', 'x86_avx512vnni', 'arm_neon_dotprod', 'arm_neon_i8mm'],
      {
        defaultDoc: 'the best the machine has',
      },
    ),
    contextLength: integer(
      'Positions of the KV cache; 0 takes 4096 or the model’s own if that is less.',
      0,
      0,
      131_072,
    ),
    prefixCacheBytes: integer(
      'Memory for what was computed of earlier prompts, pictures and sounds, so that later ones need not; 0 for none.',
      256 << 20,
      0,
      2 ** 40,
    ),
    slice: optionalText(
      'MatFormer slice, such as `e2b` of an E4B file, for all jobs that name none.',
      { defaultDoc: 'the governor’s choice' },
      64,
    ),
    loadSlice: optionalText(
      'Largest slice to have in memory, such as `e2b` of an E4B file: what only larger ones need is not loaded.',
      { defaultDoc: 'the whole file' },
      64,
    ),
    kvType: choice('What keys and values are kept in; `q8_0` takes 0.53 of the memory.', 'f16', ['f16', 'q8_0']),
    imageSize: optionalChoice(
      'Side of the square a picture is resized to, for all jobs that name none.',
      [256, 512, 768],
      { defaultDoc: 'the governor’s choice, up to the model’s own' },
    ),
    memoryLimit: optionalSize(
      'Memory the model may take, full prefix cache and sessions included; one that needs more is refused.',
      2 ** 20,
      2 ** 40,
      {
        defaultDoc: 'no limit',
      },
    ),
    speculation: choice(
      'Draft tokens and check several at once, which makes a reply faster and changes nothing in it: `auto` for greedy replies and those with a schema.',
      'auto',
      ['auto', 'on', 'off'],
    ),
    stallTimeoutSeconds: integer('A busy runner that makes no step for this long is restarted.', 180, 5, 3600),
  },
  governor: {
    enabled: flag('Choose the slice and the picture size of each job; off, all run at full size.', true),
    slices: optionalList(
      'The only slices to choose from, in any order; tails (`full-tail`) for the middle of a reply.',
      'slice names',
      (name) => /^[a-z0-9.-]{1,64}$/.test(name),
      { defaultDoc: 'those the model was published with' },
    ),
    largestSlice: optionalText('Choose none that is more work than this one.', {}, 64),
    smallestSlice: optionalText('Choose none that is less work than this one.', {}, 64),
    smallestImageSize: choice('Choose no smaller picture.', 256, [256, 512, 768]),
    warmC: optionalInteger('Degrees Celsius of the SoC from which on smaller slices are taken.', 20, 120, {
      defaultDoc: '12 below the kernel’s passive trip point, else 70',
    }),
    hotC: optionalInteger(
      'Degrees Celsius from which on much smaller ones are, in the middle of a reply, too.',
      20,
      120,
      {
        defaultDoc: '4 below the kernel’s passive trip point, else 80',
      },
    ),
    memoryReserve: optionalSize(
      'Available memory that should be left; smaller slices are taken from twice that on.',
      2 ** 20,
      2 ** 40,
      { defaultDoc: 'a sixteenth of the memory' },
    ),
    holdSeconds: integer('How long things have to be better before a larger slice is tried.', 30, 0, 3600),
  },
  defaults: {
    camera,
    microphone,
  },
  streams: map('Cameras and microphones by name.'),
  inputs: {
    cameras: optionalList(
      'Topics of cameras without an entry under `streams`: the level `{stream}` names the camera, `+` is any level.',
      'topics with a level {stream}',
      isInputTemplate,
      { defaultDoc: '`frigate/{stream}/+/snapshot`, unless a stream lists such topics or the plugin `frigate` runs' },
    ),
    microphones: optionalList('The same for microphones.', 'topics with a level {stream}', isInputTemplate, {
      defaultDoc: 'none; with the plugin `hermes`, `hermes/audioServer/{stream}/audioFrame`',
    }),
  },
  queue: {
    capacity: integer('Jobs that may wait for the engine.', 16, 1, 1024),
    concurrency: integer(
      'Jobs that share the engine; the last place is for one that is more urgent than all the others.',
      4,
      1,
      16,
    ),
    defaultDeadlineMs: integer('Deadline of jobs whose stream has none of its own.', 60_000, 1, hour),
  },
  limits: {
    maxFrameBytes: integer('Larger frames are skipped as too-large.', 2 << 20, 1024, 64 << 20),
    maxAudioBytes: integer('Larger audio chunks are skipped as too-large.', 6 << 20, 1024, 64 << 20),
    maxAudioSeconds: integer('Longer recordings are refused. Segments are cut at 30 s all the same.', 90, 1, 600),
    maxRequestBytes: integer('Larger requests are refused.', 4 << 20, 1024, 64 << 20),
    maxMediaBytes: integer('Decoded pictures and sounds that wait for their handlers.', 256 << 20, 1 << 20, 2 ** 40),
    maxStreams: integer('Streams beyond this number are not taken.', 32, 1, 1024),
    acceptUnlistedStreams: flag(
      'Take streams that appear under `<base>/in/` without being listed under `streams`.',
      true,
    ),
  },
  http: {
    enabled: flag('Serve HTTP: health, metrics, and the interfaces of OpenAI and Ollama.', true),
    host: pattern(
      'Address to listen at. One that is not loopback needs a token.',
      '127.0.0.1',
      'an IP address or localhost',
      /^(localhost|[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$/,
    ),
    port: integer('Port to listen at; 0 takes a free one.', 8474, 0, 65_535),
    token: optionalPattern(
      'What a client has to send as `Authorization: Bearer`; prefer `tokenFile`.',
      '16 to 512 printable ASCII characters without spaces',
      isToken,
      { sensitive: true },
    ),
    tokenFile: optionalPath('File that holds the token.'),
    allowedHosts: list('Names clients ask for, beside those of loopback.', 'host names', (name) =>
      /^[a-zA-Z0-9._-]{1,253}$/.test(name),
    ),
    allowedOrigins: list(
      'Web pages of other origins that may ask, such as `https://chat.example`.',
      'origins',
      (origin) => URL.canParse(origin) && new URL(origin).origin === origin,
    ),
    maxBodyBytes: integer('Larger requests are refused.', 16 << 20, 1024, 256 << 20),
    page: flag('Serve the web page.', true),
    pictures: flag('Show the last picture of each camera on the page.', false),
  },
  wyoming: {
    enabled: flag('Serve speech to text over the Wyoming protocol, as Home Assistant speaks it.', false),
    host: pattern(
      'Address to listen at. The protocol knows no password: whoever reaches the port may use it.',
      '127.0.0.1',
      'an IP address or localhost',
      /^(localhost|[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$/,
    ),
    port: integer('Port to listen at; 0 takes a free one.', 10_300, 0, 65_535),
  },
  plugins: map('Plugins by name; the built-in ones, and installed packages, run without being listed.'),
  pluginDirectory: text(
    'Directory plugins are installed into: packages named `hearth-plugin-...` in its `node_modules`.',
    '',
    { defaultDoc: '`plugins` in the state directory' },
  ),
  log: {
    level: choice('Least severe level that is logged.', 'info', logLevels),
    mqtt: flag('Publish what is logged at `info` and above.', true),
  },
  timezone: optionalPattern('Time zone of schedules.', 'a time zone such as Europe/Berlin', isTimeZone, {
    defaultDoc: 'that of the system',
  }),
  stateDirectory: text('Directory for what has to survive a restart.', '', {
    defaultDoc: '`$STATE_DIRECTORY` (set by systemd), else `~/.local/state/hearth`',
  }),
} as const;

export type Schema = typeof schema;

export type CameraConfig = Values<(typeof streamSchemas)['camera']>;
export type MicrophoneConfig = Values<(typeof streamSchemas)['microphone']>;
export type StreamConfig = CameraConfig | MicrophoneConfig;
export type PluginConfig = Values<typeof pluginSchema>;
export type ModelSourceConfig = Values<typeof modelSourceSchema> & { readonly url: string; readonly sha256: string };

/** The host name, cut down to what a topic level may hold. */
export function defaultNodeId(host: string): string {
  const id = (host.split('.')[0] ?? '')
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 64);
  return id === '' ? 'hearth' : id;
}

/** A leaf of the schema with its dotted path. */
export interface Leaf {
  readonly path: string;
  readonly option: Option<unknown>;
  /** `HEARTH_...`; undefined for the mappings, which only a file can hold. */
  readonly env: string | undefined;
  /** `--...` without the dashes. */
  readonly arg: string | undefined;
}

export function isOption(node: unknown): node is Option<unknown> {
  return typeof node === 'object' && node !== null && 'default' in node && 'doc' in node;
}

/** All leaves below `node`, in the order they are written in. */
export function leaves(node: object = schema, prefix = ''): Leaf[] {
  return Object.entries(node).flatMap(([key, child]: [string, object]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    if (!isOption(child)) return leaves(child, path);
    const words = path.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`).replace(/\./g, '_');
    const onlyInFile = child.format === 'Object';
    return [
      {
        path,
        option: child,
        env: onlyInFile ? undefined : `HEARTH_${words.toUpperCase()}`,
        arg: onlyInFile ? undefined : words.replace(/_/g, '-'),
      },
    ];
  });
}
