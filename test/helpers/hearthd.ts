/** hearthd as a process, with a configuration file of its own and the small trained model. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from './mosquitto';
import type { Peer } from './mqtt-peer';

export interface Hearthd {
  readonly pid: number;
  /** Its configuration file, and the state directory, which goes with it. */
  readonly file: string;
  readonly directory: string;
  readonly output: () => string;
  /** Resolves to its exit code; null after a signal. */
  stop(): Promise<number | null>;
  /** Ends it without a warning. */
  kill(): Promise<void>;
}

export interface ServingHearthd extends Hearthd {
  readonly url: string;
  readonly port: number;
}

type Sections = Readonly<Record<string, unknown>>;

/** Resolves when its output has `expected` in it. */
async function launch(config: Sections, expected: string): Promise<Hearthd> {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-daemon-'));
  const file = join(directory, 'hearth.yaml');
  const own = {
    node: { id: 'pi5' },
    model: { path: join(process.cwd(), 'daemon/demo/model/nano.gguf'), threads: 1 },
    stateDirectory: directory,
  };
  writeFileSync(file, stringify({ ...own, ...config }));
  const child: ChildProcess = spawn(process.execPath, [join(__dirname, '../../daemon/hearthd.js'), '--config', file], {
    env: {},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  await new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        if (output.includes(expected)) resolve();
      });
    }
    child.once('close', (code) => reject(new Error(`hearthd ended with ${code}\n${output}`)));
  });
  return {
    pid: child.pid ?? 0,
    file,
    directory,
    output: () => output,
    kill: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
      rmSync(directory, { recursive: true, force: true });
    },
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill('SIGTERM');
        await exited;
      }
      rmSync(directory, { recursive: true, force: true });
      return child.exitCode;
    },
  };
}

/** Resolves when it is ready. `peer` has to hear `hearth/#`. */
export async function startHearthd(
  url: string,
  peer: Peer,
  { node = 'pi5', ...config }: Sections & { readonly node?: string },
): Promise<Hearthd> {
  const own = { node: { id: node }, mqtt: { url }, http: { enabled: false } };
  const daemon = await launch({ ...own, ...config }, 'hearth is ready');
  await peer.json(`hearth/${node}/info`, ({ plugins }: { plugins: { version: unknown }[] }) =>
    plugins.every(({ version }) => version !== null),
  );
  return daemon;
}

/** With a broker of its own unless one is configured. Resolves when it is ready, or as soon as HTTP is served. */
export async function serveHearthd(
  config: Sections & { readonly http?: Sections } = {},
  { ready = true } = {},
): Promise<ServingHearthd> {
  const port = await freePort();
  const given = { mqtt: { embedded: { port: 0 } }, ...config, http: { port, ...config.http } };
  const daemon = await launch(given, ready ? 'hearth is ready' : 'HTTP is served');
  return { ...daemon, port, url: `http://127.0.0.1:${port}` };
}
