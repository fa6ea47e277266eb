/** hearthd with the small trained model, a broker of its own and free ports, as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from './mosquitto';

export interface Hearthd {
  readonly url: string;
  readonly port: number;
  /** What it has written to its log so far. */
  readonly log: () => string;
  stop(): Promise<number | null>;
}

/** Resolves when HTTP is served; with `ready`, when the model is loaded and the broker connected, too. */
export async function startHearthd(
  flags: Readonly<Record<string, string>> = {},
  { ready = true, modelPath = 'daemon/demo/model/nano.gguf' } = {},
): Promise<Hearthd> {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'hearth-http-'));
  const port = await freePort();
  const given: Record<string, string> = {
    'node-id': 'pi5',
    'model-path': modelPath,
    'model-threads': '1',
    'mqtt-embedded-port': '0',
    'http-port': String(port),
    'state-directory': stateDirectory,
    ...flags,
  };
  const child: ChildProcess = spawn(
    process.execPath,
    [
      join(__dirname, '../../daemon/hearthd.js'),
      ...Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]),
    ],
    { env: {}, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const expected = ready ? '"hearth is ready"' : '"HTTP is served"';
  for (let attempt = 0; !output.includes(expected); attempt++) {
    if (attempt > 600 || child.exitCode !== null) throw new Error(`hearthd did not come up:\n${output}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    log: () => output,
    stop: async () => {
      child.kill('SIGTERM');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      rmSync(stateDirectory, { recursive: true, force: true });
      return child.exitCode;
    },
  };
}
