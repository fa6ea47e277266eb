/** A real Mosquitto on a free loopback port, with its own configuration and no state of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

export interface Mosquitto {
  readonly port: number;
  readonly url: string;
  /** Stops its process without ending it, and lets it go on. */
  freeze(): void;
  thaw(): void;
  /** Has it write what it keeps to its disk, where it has `persistence`. */
  save(): Promise<void>;
  stop(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
}

/** `extra` lines are added to the configuration; `files` are written beside it and can be named by `DIR/<name>`. */
export async function startMosquitto(
  extra: readonly string[] = [],
  files: Readonly<Record<string, string>> = {},
): Promise<Mosquitto> {
  const directory = mkdtempSync(join(tmpdir(), 'hearth-mosquitto-'));
  const port = await freePort();
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  const lines = [
    `listener ${port} 127.0.0.1`,
    ...(extra.some((line) => line.startsWith('allow_anonymous ')) ? [] : ['allow_anonymous true']),
    ...(extra.some((line) => line.startsWith('persistence ')) ? [] : ['persistence false']),
    `user ${userInfo().username}`,
    ...extra,
  ];
  writeFileSync(join(directory, 'mosquitto.conf'), lines.join('\n').replaceAll('DIR', directory));
  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    child = spawn('mosquitto', ['-c', join(directory, 'mosquitto.conf')], {
      stdio: 'ignore',
      env: { PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin` },
    });
    child.once('error', (error) => {
      throw new Error(`mosquitto does not start (apt install mosquitto): ${error.message}`);
    });
    await listening(port);
  };
  await start();
  return {
    port,
    url: `mqtt://127.0.0.1:${port}`,
    start,
    freeze: () => child?.kill('SIGSTOP'),
    thaw: () => child?.kill('SIGCONT'),
    save: async () => {
      child?.kill('SIGUSR1');
      while (!existsSync(join(directory, 'mosquitto.db'))) await new Promise((resolve) => setTimeout(resolve, 20));
    },
    stop: async () => {
      const running = child;
      child = undefined;
      if (running === undefined || running.exitCode !== null || running.signalCode !== null) return;
      const exited = once(running, 'exit');
      running.kill('SIGKILL');
      await exited;
    },
  };

  async function listening(at: number): Promise<void> {
    for (let attempt = 0; attempt < 200; attempt++) {
      if (await accepts(at)) return;
      if (child?.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    rmSync(directory, { recursive: true, force: true });
    throw new Error(`mosquitto does not listen on ${at}`);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port');
  server.close();
  await once(server, 'close');
  return address.port;
}

async function accepts(port: number): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
