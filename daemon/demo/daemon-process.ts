/** hearthd as the demonstration runs it: the small trained model, an embedded broker on a free loopback port. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { camera, microphones, modelPath, node } from './script';

const rooms = ['kitchen', 'bedroom', 'living_room', 'bathroom', 'garage', 'garden', 'office', 'hallway'];

/** A function of the house: its arguments, and the topic a call of it becomes. */
function houseFunction(
  name: string,
  description: string,
  properties: Record<string, unknown>,
  place: string,
): Record<string, unknown> {
  return {
    name,
    description,
    parameters: { type: 'object', properties, required: Object.keys(properties), additionalProperties: false },
    publish: { topic: `home/{arguments.${place}}/${name}` },
  };
}

const room = { enum: rooms };
const functions = [
  houseFunction('set_light', 'Switches the light in a room on or off.', { room, on: { type: 'boolean' } }, 'room'),
  houseFunction(
    'set_temperature',
    'Sets the heating of a room.',
    { room, celsius: { type: 'integer', minimum: 15, maximum: 25 } },
    'room',
  ),
  houseFunction(
    'set_lock',
    'Locks or unlocks a door.',
    { door: { enum: ['front', 'back', 'garage'] }, locked: { type: 'boolean' } },
    'door',
  ),
  houseFunction('set_blinds', 'Opens or closes the blinds of a room.', { room, open: { type: 'boolean' } }, 'room'),
  houseFunction('play_music', 'Plays or stops music in a room.', { room, on: { type: 'boolean' } }, 'room'),
  houseFunction('get_temperature', 'Asks how warm it is in a room.', { room }, 'room'),
];

function configuration(brokerPort: number, httpPort: number, stateDirectory: string): object {
  const streams = Object.fromEntries(
    Object.entries(microphones).map(([language, name]) => [
      name,
      { kind: 'microphone', language, deadlineMs: 120_000 },
    ]),
  );
  return {
    node: { id: node },
    mqtt: { embedded: { port: brokerPort } },
    http: { port: httpPort, pictures: true },
    model: { path: modelPath },
    streams: { ...streams, [camera]: { kind: 'camera', minIntervalMs: 200, language: 'en', deadlineMs: 120_000 } },
    queue: { capacity: 64, defaultDeadlineMs: 120_000 },
    plugins: { translate: { config: { languages: ['en'] } }, 'function-calls': { config: { functions } } },
    log: { level: 'warn' },
    stateDirectory,
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  server.close();
  await once(server, 'close');
  return port;
}

export class DaemonProcess {
  private constructor(
    private readonly child: ChildProcess,
    readonly url: string,
    /** Address of the daemon's page. */
    readonly page: string,
    private readonly directory: string,
    /** Resolves to the exit code, or null after a signal. */
    readonly exited: Promise<number | null>,
  ) {}

  static async start(): Promise<DaemonProcess> {
    const directory = mkdtempSync(join(tmpdir(), 'hearth-demo-'));
    const [brokerPort, httpPort] = [await freePort(), await freePort()];
    const path = join(directory, 'hearthd.json');
    writeFileSync(path, JSON.stringify(configuration(brokerPort, httpPort, join(directory, 'state'))));
    // Its own process group: Ctrl-C is for the demonstration, which then ends the daemon as a service manager would.
    const child = spawn(process.execPath, [join(__dirname, '../hearthd.js'), '--config', path], {
      stdio: ['ignore', 'inherit', 'inherit'],
      detached: true,
    });
    const exited = once(child, 'exit').then(([code]) => code as number | null);
    const [url, page] = [`mqtt://127.0.0.1:${brokerPort}`, `http://127.0.0.1:${httpPort}/`];
    return new DaemonProcess(child, url, page, directory, exited);
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  /** SIGTERM, and the exit code that follows. */
  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM');
    const code = await this.exited;
    rmSync(this.directory, { recursive: true, force: true });
    return code;
  }
}
