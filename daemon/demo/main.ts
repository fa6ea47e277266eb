/**
 * The demonstration: a real hearthd, a process that plays a camera and four microphones to it over MQTT, and this
 * console, which shows what hearthd publishes. `--once` plays one round and exits 0 when everything that should have
 * come back did, with the right words.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { connect, type MqttClient } from 'mqtt';
import type { StreamEvent } from '../events';
import { DaemonProcess } from './daemon-process';
import { Expectations, type Verdict } from './expectations';
import { base, node, readScript } from './script';

const startTimeoutMs = 60_000;
/** After the devices have fallen silent. */
const settleTimeoutMs = 60_000;
const pluginCount = 4;

const shownKinds = new Set(['caption', 'answer', 'transcript', 'translation', 'call']);

function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

function milliseconds(value: number | undefined): string {
  return (value === undefined ? '-' : `${Math.round(value)} ms`).padStart(8);
}

function showVerdict(stream: string, kind: string, verdict: Verdict, latencyMs?: number, firstTokenMs?: number): void {
  const mark = verdict.right ? '✓' : '✗';
  print(
    `${mark} ${stream.padEnd(11)} ${kind.padEnd(11)} ${milliseconds(latencyMs)} ${milliseconds(firstTokenMs)}  ${verdict.actual}`,
  );
  if (!verdict.right) print(`  ${' '.repeat(43)} expected of ${verdict.what}: ${verdict.expected ?? 'nothing'}`);
}

/** Follows what hearthd publishes, round after round. */
class Console {
  private expectations: Expectations | undefined;
  private readonly runningPlugins = new Set<string>();
  private model: { name: string; parameters: number; isa: string; threads: number } | undefined;

  private constructor(private readonly client: MqttClient) {}

  /** Rejects when `stopped` comes first. */
  static async connect(url: string, stopped: AbortSignal): Promise<Console> {
    const client = connect(url, { protocolVersion: 4, clientId: 'demo-console', reconnectPeriod: 200 });
    // The broker comes up with the daemon; until then connections are refused.
    client.on('error', () => undefined);
    const console = new Console(client);
    client.on('message', (topic, payload) => console.receive(topic, payload));
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      stopped.addEventListener('abort', () => {
        client.end(true);
        reject(new Error('hearthd ended before it was ready'));
      });
    });
    await client.subscribeAsync(
      [
        `${base}/${node}/info`,
        `${base}/${node}/plugin/+/state`,
        `${base}/${node}/out/+/+`,
        `${base}/${node}/response/translate`,
        'home/#',
      ],
      { qos: 1 },
    );
    return console;
  }

  async ready(page: string, stopped: AbortSignal): Promise<void> {
    for (let waited = 0; this.runningPlugins.size < pluginCount || this.model === undefined; waited += 50) {
      if (waited > startTimeoutMs || stopped.aborted) throw new Error('hearthd did not become ready');
      await sleep(50);
    }
    const { name, parameters, isa, threads } = this.model;
    print(
      `hearthd runs ${name} (${(parameters / 1e6).toFixed(1)} M parameters) on ${isa}, ${threads} threads; watch it at ${page}\n`,
    );
    print('  stream      what         latency first token');
  }

  begin(expectations: Expectations): void {
    this.expectations = expectations;
  }

  async end(): Promise<void> {
    await this.client.endAsync(true);
  }

  private receive(topic: string, payload: Buffer): void {
    const message = JSON.parse(payload.toString()) as Record<string, unknown>;
    const [, , section = '', stream = '', kind = ''] = topic.split('/');
    if (topic.startsWith('home/')) {
      print(`  ${topic} ${payload.toString()}`);
    } else if (section === 'info') {
      this.model = (message['model'] as typeof this.model | null) ?? undefined;
    } else if (section === 'plugin') {
      if (message['state'] === 'running') this.runningPlugins.add(stream);
    } else if (section === 'response') {
      this.showResponse(message);
    } else if (kind === 'error' || kind === 'skipped') {
      print(`! ${stream.padEnd(11)} ${kind.padEnd(11)} ${payload.toString()}`);
    } else if (shownKinds.has(kind)) {
      const event = message as unknown as StreamEvent;
      const verdict = this.expectations?.event(event);
      if (verdict !== undefined) showVerdict(stream, kind, verdict, event.latency_ms, event.first_token_ms);
    }
  }

  private showResponse(message: Record<string, unknown>): void {
    const data = message['data'] as { text?: string } | undefined;
    const verdict = this.expectations?.response(data?.text ?? JSON.stringify(message['error']));
    if (verdict !== undefined) showVerdict('(request)', 'translation', verdict);
  }
}

async function playRound(url: string, console: Console, stopped: AbortSignal): Promise<boolean> {
  const expectations = new Expectations(readScript());
  console.begin(expectations);
  const devices: ChildProcess = spawn(process.execPath, [join(__dirname, 'devices.js'), url], { stdio: 'inherit' });
  const stop = (): void => void devices.kill();
  stopped.addEventListener('abort', stop, { once: true });
  await once(devices, 'exit');
  stopped.removeEventListener('abort', stop);
  for (let waited = 0; expectations.missing.length > 0 && waited < settleTimeoutMs && !stopped.aborted; waited += 50)
    await sleep(50);
  if (stopped.aborted) return true;
  for (const missing of expectations.missing) print(`✗ never came: ${missing}`);
  const fine = expectations.missing.length === 0 && expectations.wrong === 0;
  print(
    fine
      ? '\nEverything came back as it should.\n'
      : `\n${expectations.wrong} wrong, ${expectations.missing.length} missing.\n`,
  );
  return fine;
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { once: { type: 'boolean', default: false } } });
  const stopped = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => stopped.abort());
  const daemon = await DaemonProcess.start();
  void daemon.exited.then(() => stopped.abort());
  let fine = true;
  let console: Console | undefined;
  try {
    console = await Console.connect(daemon.url, stopped.signal);
    await console.ready(daemon.page, stopped.signal);
    do {
      fine = (await playRound(daemon.url, console, stopped.signal)) && fine;
    } while (!values.once && !stopped.signal.aborted);
  } finally {
    await console?.end();
    const code = await daemon.stop();
    if (code !== 0) {
      print(`hearthd ended with ${code ?? 'a signal'}`);
      fine = false;
    }
  }
  return fine ? 0 : 1;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  },
);
