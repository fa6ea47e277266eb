import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Config, ConfigError, loadConfig, redact } from '../../../daemon/config';
import { defaultNodeId } from '../../../daemon/config/schema';

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'hearth-config-'));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function file(content: string, name = 'hearth.yaml'): string {
  const path = join(directory, name);
  writeFileSync(path, content);
  return path;
}

function load(content: string, env: Record<string, string> = {}, flags: Record<string, string> = {}): Config {
  return loadConfig({ file: file(content), env, flags });
}

function problemsOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError)
      return error.problems.map(
        (p) => `${p.path} | ${p.expected} | ${p.received} | ${p.origin.replace(directory, '')}`,
      );
    throw error;
  }
  throw new Error('expected a ConfigError');
}

test('flag beats environment beats file beats default', () => {
  const content = 'mqtt: {baseTopic: from-file, keepaliveSeconds: 11, eventExpirySeconds: 12}';
  const env = { HEARTH_MQTT_BASE_TOPIC: 'from-env', HEARTH_MQTT_KEEPALIVE_SECONDS: '21' };
  const { mqtt } = load(content, env, { 'mqtt-base-topic': 'from-flag' });
  expect([mqtt.baseTopic, mqtt.keepaliveSeconds, mqtt.eventExpirySeconds, mqtt.reconnectMaxSeconds]).toEqual([
    'from-flag',
    21,
    12,
    30,
  ]);
});

test('JSON and YAML say the same', () => {
  const yaml = load('queue:\n  capacity: 3\nstreams:\n  door:\n    kind: camera\n    topics: [frigate/+/+/snapshot]\n');
  const json = load(
    '{"queue": {"capacity": 3}, "streams": {"door": {"kind": "camera", "topics": ["frigate/+/+/snapshot"]}}}',
  );
  expect(json).toEqual(yaml);
  expect(json.queue.capacity).toBe(3);
  expect(json.streams['door']).toMatchObject({ kind: 'camera', topics: ['frigate/+/+/snapshot'] });
});

test('all problems come at once, each with path, expected, received and origin', () => {
  const content = `
mqtt: {prtocol: 5, keepaliveSeconds: 2, url: "mqtt://me:hunter2@host"}
queue: 7
modle: {}
streams:
  Front Door: {kind: camera}
  door: {kind: camera, minIntervalms: 5, priority: 10}
  mic: {kind: microphone, minIntervalMs: 5}
  none: {}
plugins: {captions: {enabled: yes please}}
`;
  const problems = problemsOf(() =>
    load(content, { HEARTH_LOG_LEVEL: 'loud', HEARTH_MQTT_ULR: 'x' }, { 'model-threads': 'many', 'model-thread': '1' }),
  );
  expect(problems).toEqual(
    expect.arrayContaining([
      'mqtt.prtocol | a known option (did you mean protocol?) | "prtocol" | /hearth.yaml',
      'mqtt.keepaliveSeconds | a whole number from 5 to 3600 | 2 | /hearth.yaml',
      'mqtt.url | a URL such as mqtts://host:8883, without user and password, or nothing | "mqtt://***@host" | /hearth.yaml',
      'modle | a known option (did you mean model?) | "modle" | /hearth.yaml',
      'streams.Front Door | a name of 1 to 64 of a-z 0-9 _ - | "Front Door" | /hearth.yaml',
      'streams.door.minIntervalms | a known option (did you mean minIntervalMs?) | "minIntervalms" | /hearth.yaml',
      'streams.door.priority | a whole number from 0 to 9 | 10 | /hearth.yaml',
      'streams.none.kind | one of camera, microphone | undefined | /hearth.yaml',
      'plugins.captions.enabled | true or false | "yes please" | /hearth.yaml',
      'log.level | one of trace, debug, info, warn, error, fatal, silent | "loud" | HEARTH_LOG_LEVEL',
      'HEARTH_MQTT_ULR | a known option (did you mean HEARTH_MQTT_URL?) | HEARTH_MQTT_ULR | environment',
      'model.threads | a whole number from 0 to 256 | "many" | --model-threads',
      '--model-thread | a known option (did you mean --model-threads?) | --model-thread | flags',
    ]),
  );
  expect(problems.filter((problem) => problem.startsWith('queue |'))).toEqual([
    'queue | a section with capacity, concurrency, defaultDeadlineMs | 7 | /hearth.yaml',
  ]);
  expect(problems.filter((problem) => problem.startsWith('streams.mic.'))).toHaveLength(1);
  expect(problems).toHaveLength(15);
  expect(problems.join()).not.toContain('hunter2');
});

test('a stream inherits what it leaves out from the defaults of its kind', () => {
  const { streams, defaults } = load(`
defaults:
  camera: {minIntervalMs: 250}
  microphone: {language: de, audio: {mode: push-to-talk}}
streams:
  a: {kind: camera}
  b: {kind: camera, minIntervalMs: 500}
  m: {kind: microphone, audio: {format: s16le}}
`);
  expect(streams['a']).toMatchObject({ minIntervalMs: 250, topics: [], plugins: null, acceptRetained: false });
  expect(streams['b']).toMatchObject({ minIntervalMs: 500 });
  expect(streams['m']).toMatchObject({
    language: 'de',
    audio: { format: 's16le', mode: 'push-to-talk', sampleRate: 16000 },
  });
  expect(defaults.camera.minIntervalMs).toBe(250);
});

test('what a stream does when, where nothing counts and whom speech interrupts is checked, with what was expected', () => {
  const good = load(`
timezone: Europe/Berlin
streams:
  yard: { kind: camera, schedule: [mon-fri 07:00-22:00, 22:00-06:00], motion: { ignore: [0 0 1 0.1, .5 0.25 0.5 .75] } }
  mic: { kind: microphone, audio: { bargeIn: all, bargeInStreams: [yard] } }
`);
  expect(good.streams['yard']).toMatchObject({ schedule: ['mon-fri 07:00-22:00', '22:00-06:00'] });
  expect(good.streams['mic']).toMatchObject({ audio: { bargeIn: 'all', bargeInStreams: ['yard'] } });
  expect(
    load('', { HEARTH_DEFAULTS_CAMERA_SCHEDULE: 'sat 09:00-12:00, sun 10:00-12:00' }).defaults.camera.schedule,
  ).toEqual(['sat 09:00-12:00', 'sun 10:00-12:00']);
  const times = 'a list of times such as mon-fri 07:00-22:00';
  const places = 'a list of rectangles such as 0 0 1 0.1';
  expect(
    problemsOf(() =>
      load(`
timezone: Berlin
streams:
  a: { kind: camera, schedule: [monday 07:00-22:00], motion: { ignore: [0 0 2 1], threshold: -1, minArea: 2 } }
  b: { kind: camera, motion: { ignore: [0.5 0 0.6 1] } }
  c: { kind: camera, motion: { ignore: [[0, 0, 1, 1]] } }
  d: { kind: microphone, schedule: [25:00-26:00], audio: { bargeIn: always, bargeInStreams: [Bad Name] } }
`),
    ),
  ).toEqual([
    'timezone | a time zone such as Europe/Berlin, or nothing | "Berlin" | /hearth.yaml',
    `streams.a.schedule | ${times} | ["monday 07:00-22:00"] | /hearth.yaml`,
    'streams.a.motion.threshold | a number from 0 to 255 | -1 | /hearth.yaml',
    'streams.a.motion.minArea | a number from 0 to 1 | 2 | /hearth.yaml',
    `streams.a.motion.ignore | ${places} | ["0 0 2 1"] | /hearth.yaml`,
    `streams.b.motion.ignore | ${places} | ["0.5 0 0.6 1"] | /hearth.yaml`,
    `streams.c.motion.ignore | ${places} | [[0,0,1,1]] | /hearth.yaml`,
    `streams.d.schedule | ${times} | ["25:00-26:00"] | /hearth.yaml`,
    'streams.d.audio.bargeIn | one of none, answers, all | "always" | /hearth.yaml',
    'streams.d.audio.bargeInStreams | a list of stream names | ["Bad Name"] | /hearth.yaml',
  ]);
});

test.each([
  ['keepaliveSeconds', '12abc'],
  ['keepaliveSeconds', '0x10'],
  ['keepaliveSeconds', '5.5.5'],
  ['tls-reject-unauthorized', 'maybe'],
  ['protocol', '3'],
])('a flag that only begins like a value is refused: %s %s', (name, value) => {
  const flag = `mqtt-${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
  expect(problemsOf(() => load('', {}, { [flag]: value }))).toEqual([
    expect.stringContaining(`${JSON.stringify(value)} | --${flag}`),
  ]);
});

test('the protocol is a number whether it comes from a file or a flag', () => {
  expect(load('mqtt: {protocol: 4}').mqtt.protocol).toBe(4);
  expect(load('', {}, { 'mqtt-protocol': '5' }).mqtt.protocol).toBe(5);
});

test.each(['[1, 2]', '"text"', '{a: [}', 'a: 1\na: 2', '\u0000', `a: &a [x]\nb: [${'*a, '.repeat(200)}*a]`])(
  'a file that is no mapping is a problem, not a crash (case %#)',
  (content) => {
    expect(problemsOf(() => load(content)).length).toBeGreaterThan(0);
  },
);

test('an empty file and one of comments only are all defaults', () => {
  expect({ ...load(''), file: null }).toEqual({ ...load('# nothing\n'), file: null });
});

test('keys of an object’s prototype are unknown options', () => {
  expect(
    problemsOf(() =>
      load('{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 1}}, "mqtt": {"__proto__": 1}}'),
    ),
  ).toHaveLength(3);
  expect(({} as { polluted?: number }).polluted).toBeUndefined();
});

test('a missing or oversized file is FILE_UNREADABLE', () => {
  expect(() => loadConfig({ file: join(directory, 'absent.yaml'), env: {} })).toThrow(
    expect.objectContaining({ code: 'FILE_UNREADABLE' }),
  );
  expect(() => load(`# ${'x'.repeat(1 << 20)}`)).toThrow(expect.objectContaining({ code: 'FILE_UNREADABLE' }));
});

test('options that need each other', () => {
  expect(problemsOf(() => load('mqtt: {tls: {certFile: a.pem}}'))).toEqual([
    expect.stringContaining('mqtt.tls.keyFile | a file, since mqtt.tls.certFile is set'),
  ]);
  expect(problemsOf(() => load('streams: {a: {kind: camera, raw: {pixelFormat: nv12, width: 64}}}'))).toEqual([
    expect.stringContaining('streams.a.raw'),
  ]);
  expect(problemsOf(() => load('mqtt: {password: hunter2, passwordFile: x}'))).toEqual([
    expect.stringContaining('since mqtt.password is set'),
  ]);
});

test('the password comes from its file, relative to the configuration, and is never shown', () => {
  writeFileSync(join(directory, 'secret'), 'hunter2\n');
  const config = load('mqtt: {passwordFile: secret}\nplugins: {captions: {config: {apiToken: abc123, prompt: Look}}}');
  expect(config.mqtt.password).toBe('hunter2');
  const shown = redact(config);
  expect(JSON.stringify(shown)).not.toMatch(/hunter2|abc123/);
  expect(shown).toMatchObject({
    mqtt: { password: '***', passwordFile: join(directory, 'secret'), username: null },
    plugins: { captions: { config: { apiToken: '***', prompt: 'Look' } } },
  });
});

test('paths in the file are relative to it, paths in flags are not', () => {
  const content = 'model: {path: models/a.gguf}\nmqtt: {tls: {caFile: /etc/ca.pem}}\nplugins: {mine: {path: ./mine}}';
  const config = load(content, {}, { 'model-multimodal-path': 'b.gguf' });
  expect([config.model.path, config.model.multimodalPath]).toEqual([join(directory, 'models/a.gguf'), 'b.gguf']);
  expect([config.mqtt.tls.caFile, config.plugins['mine']?.path]).toEqual(['/etc/ca.pem', join(directory, 'mine')]);
});

test('a secret of the wrong type is not in the message', () => {
  expect(problemsOf(() => load('mqtt: {password: [hunter2]}'))).toEqual([
    'mqtt.password | text of 1 to 4096 characters, or nothing | a value that is not shown | /hearth.yaml',
  ]);
});

describe('models that may be downloaded', () => {
  const hash = 'aB'.repeat(32);
  const source = (text: string): string => `model: {sources: {tiny: {${text}}}}`;

  test('have a URL and a hash; the file of their token is relative to the configuration', () => {
    const { model } = load(source(`url: "https://a.example/x.gguf", sha256: ${hash}, tokenFile: token`));
    expect(model.sources['tiny']).toEqual({
      url: 'https://a.example/x.gguf',
      sha256: hash,
      bytes: null,
      version: null,
      title: null,
      tokenFile: join(directory, 'token'),
      mmproj: { url: null, sha256: null, bytes: null },
    });
  });

  test.each([
    [
      'url: "https://a.example/x.gguf"',
      'model.sources.tiny.sha256 | 64 hexadecimal digits, without which nothing is downloaded | nothing | /hearth.yaml',
    ],
    [`sha256: ${hash}`, 'model.sources.tiny.url | a URL | nothing | /hearth.yaml'],
    [
      `url: "http://a.example/x", sha256: ${hash}, tokenFile: token`,
      'model.sources.tiny.tokenFile | none, or https URLs | "http://a.example/x" | /hearth.yaml',
    ],
    [
      `url: "https://a.example/x", sha256: ${hash}, mmproj: {url: "https://a.example/y"}`,
      'model.sources.tiny.mmproj.sha256 | both url and sha256 of the encoders | nothing | /hearth.yaml',
    ],
    [
      `url: "https://user:word@a.example/x", sha256: ${hash}`,
      'model.sources.tiny.url | a URL such as https://host/model.gguf, without user and password, or nothing | "https://***@a.example/x" | /hearth.yaml',
    ],
    [
      `url: "file:///etc/passwd", sha256: ${hash}`,
      'model.sources.tiny.url | a URL such as https://host/model.gguf, without user and password, or nothing | "file:///etc/passwd" | /hearth.yaml',
    ],
  ])('%s is refused', (text, problem) => {
    expect(problemsOf(() => load(source(text)))).toEqual([problem]);
  });
});

test('the configuration is frozen through and through', () => {
  const config = load('streams: {a: {kind: microphone}}');
  expect(() => Object.assign(config.mqtt, { baseTopic: 'x' })).toThrow(TypeError);
  const stream = config.streams['a'];
  expect(stream?.kind === 'microphone' && Object.isFrozen(stream.audio)).toBe(true);
});

test('the state directory follows systemd', () => {
  const loadFrom = (env: Record<string, string>): string => loadConfig({ file: file(''), env }).stateDirectory;
  expect(loadFrom({ STATE_DIRECTORY: '/var/lib/hearth:/var/lib/other' })).toBe('/var/lib/hearth');
  expect(loadFrom({ STATE_DIRECTORY: '/var/lib/hearth', HEARTH_STATE_DIRECTORY: '/srv' })).toBe('/srv');
  expect(loadFrom({ XDG_STATE_HOME: '/x' })).toBe('/x/hearth');
});

test.each([
  ['pi5', 'pi5'],
  ['Front.Door.local', 'front'],
  ['Küche №1', 'k-che-1'],
  ['---', 'hearth'],
  ['', 'hearth'],
  ['x'.repeat(80), 'x'.repeat(64)],
])('host name %j makes node id %j', (host, id) => {
  expect(defaultNodeId(host)).toBe(id);
});

test('sizes are bytes or have a unit, wherever they come from', () => {
  const limit = (value: string): number | null => load(`model: {memoryLimit: ${value}}`).model.memoryLimit;
  expect(limit('2GB')).toBe(2e9);
  expect(limit('"1.5 GiB"')).toBe(1.5 * 2 ** 30);
  expect(limit('1500mib')).toBe(1500 * 2 ** 20);
  expect(limit('3000000')).toBe(3_000_000);
  expect(load('{}').model.memoryLimit).toBeNull();
  expect(load('{}', { HEARTH_MODEL_MEMORY_LIMIT: '1700MB' }).model.memoryLimit).toBe(1.7e9);
  expect(load('{}', {}, { 'governor-memory-reserve': '256MiB' }).governor.memoryReserve).toBe(2 ** 28);
});

test.each(['2TB', 'GB', '-1', '0.5', '10', '2 GB free', '9999999GB', '[1]'])(
  'the size %s is refused with what is expected',
  (value) => {
    const [problem, ...others] = problemsOf(() => load(`model: {memoryLimit: ${value}}`));
    expect(others).toEqual([]);
    expect(problem).toMatch(
      /^model\.memoryLimit \| a size such as 2GB or 1500MiB, from 1MiB to 1024GiB, or nothing \|/,
    );
  },
);

test('the governor’s options fit each other', () => {
  const { governor } = load('governor: {slices: [e4b, full-tail], smallestImageSize: 512, warmC: 60, hotC: 70}');
  expect(governor).toMatchObject({ enabled: true, slices: ['e4b', 'full-tail'], warmC: 60, hotC: 70, holdSeconds: 30 });
  expect(problemsOf(() => load('governor: {warmC: 81, hotC: 80}'))).toEqual([
    'governor.warmC | at most governor.hotC (80) | 81 | /hearth.yaml',
  ]);
  expect(problemsOf(() => load('governor: {slices: ["e2b; rm"]}'))[0]).toMatch(
    /^governor\.slices \| a list of slice names/,
  );
});

test.each([
  ['frigate/{stream}/+/snapshot', true],
  ['{stream}', true],
  ['frigate/+/snapshot', false],
  ['a/{stream}/{stream}', false],
  ['a/x{stream}', false],
  ['a/{stream}/#', false],
  ['a/{stream}/{node}', false],
  ['', false],
])('an input that names its stream: %s', (topic, fine) => {
  const load = () => loadConfig({ env: { HEARTH_INPUTS_CAMERAS: `x/{stream},${topic === '' ? '+' : topic}` } });
  if (fine) expect(load().inputs.cameras).toEqual(['x/{stream}', topic]);
  else expect(load).toThrow(/inputs\.cameras: expected a list of topics with a level \{stream\}/);
});

describe('http', () => {
  const token = 'correct-horse-battery';

  test('listens on loopback without a token', () => {
    expect(load('').http).toMatchObject({ enabled: true, host: '127.0.0.1', port: 8474, token: null });
    for (const host of ['localhost', '::1', '127.0.0.2']) expect(load(`http: {host: "${host}"}`).http.host).toBe(host);
  });

  test('does not listen elsewhere without one', () => {
    for (const host of ['0.0.0.0', '::', '192.168.1.5']) {
      expect(problemsOf(() => load(`http: {host: "${host}"}`))).toEqual([
        `http.token | a token or http.tokenFile, since http.host (${host}) can be reached from other machines | nothing | /hearth.yaml`,
      ]);
      expect(load(`http: {host: "${host}", token: ${token}}`).http.token).toBe(token);
      expect(load(`http: {host: "${host}", enabled: false}`).http.enabled).toBe(false);
    }
    const [noAddress] = problemsOf(() => load('http: {host: pi5.lan}'));
    expect(noAddress).toContain('http.host | an IP address');
  });

  test('takes the token from a file, and shows it nowhere', () => {
    const path = file(`${token}\n`, 'token');
    const config = load(`http: {host: 0.0.0.0, tokenFile: ${path}}`);
    expect(config.http.token).toBe(token);
    expect(JSON.stringify(redact(config))).not.toContain(token);
    expect(problemsOf(() => load(`http: {host: 0.0.0.0, tokenFile: ${file('short', 'short')}}`))).toEqual([
      expect.stringContaining('http.tokenFile | a readable file with 16 to 512 printable ASCII'),
    ]);
    const both = problemsOf(() => load(`http: {token: ${token}, tokenFile: ${path}}`));
    expect(both).toEqual([expect.stringContaining('http.tokenFile | nothing, since http.token is set')]);
    const [wrong] = problemsOf(() => load('http: {token: "with a space in it"}'));
    expect(wrong).toContain('a value that is not shown');
  });

  test('origins are origins, hosts are names', () => {
    expect(load('http: {allowedOrigins: ["https://chat.example"]}').http.allowedOrigins).toEqual([
      'https://chat.example',
    ]);
    for (const list of ['allowedOrigins: ["*"]', 'allowedOrigins: ["https://a.example/"]', 'allowedHosts: ["a/b"]'])
      expect(problemsOf(() => load(`http: {${list}}`))).toHaveLength(1);
  });
});

test('a node of a cluster is not called as the topics of clusters are', () => {
  expect(load('{node: {id: cluster}}').cluster.name).toBeNull();
  expect(load('{node: {id: pi5}, cluster: {name: home}}').cluster).toMatchObject({ leaseSeconds: 6, frames: 'shared' });
  expect(problemsOf(() => load('{node: {id: cluster}, cluster: {name: home}}'))).toEqual([
    expect.stringContaining('node.id | another name than cluster'),
  ]);
});
