/** hearthd as a process, with a configuration file of its own and the small trained model. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Peer } from './mqtt-peer';

export interface Hearthd {
  readonly output: () => string;
  stop(): Promise<void>;
}

/** Resolves when it is ready. `peer` has to hear `hearth/#`. */
export async function startHearthd(
  url: string,
  peer: Peer,
  config: Readonly<Record<string, unknown>>,
): Promise<Hearthd> {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-daemon-'));
  const file = join(directory, 'hearth.yaml');
  const own = {
    node: { id: 'pi5' },
    mqtt: { url },
    model: { path: join(process.cwd(), 'daemon/demo/model/nano.gguf'), threads: 1 },
    stateDirectory: directory,
  };
  writeFileSync(file, stringify({ ...own, ...config }));
  const child: ChildProcess = spawn(process.execPath, [join(__dirname, '../../daemon/hearthd.js'), '--config', file], {
    env: {},
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const ready = new Promise<void>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        if (output.includes('hearth is ready')) resolve();
      });
    }
    child.once('exit', (code) => reject(new Error(`hearthd ended with ${code}\n${output}`)));
  });
  await ready;
  await peer.json('hearth/pi5/info', ({ plugins }: { plugins: { version: unknown }[] }) =>
    plugins.every(({ version }) => version !== null),
  );
  return {
    output: () => output,
    stop: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit');
        child.kill('SIGTERM');
        await exited;
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
