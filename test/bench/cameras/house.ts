/** A house with cameras and a doorbell: a real broker, the real daemon, and frames that come whether it keeps up or not. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import sharp from 'sharp';
import type { StreamEvent } from '../../../daemon/events';
import { type Mosquitto, startMosquitto } from '../../helpers/mosquitto';
import { connectPeer, type Peer } from '../../helpers/mqtt-peer';
import type { CamerasOptions } from './options';

export interface ModelFiles {
  readonly modelPath: string;
  readonly multimodalPath: string;
}

const doorbell = 'doorbell';
const base = 'hearth/in';
const side = 512;
/** Each is another scene to the daemon, and to its caches. */
const scenes = 64;

/** JPEGs of a few coloured stripes each: no two alike, as large as a camera's. */
async function pictures(): Promise<Buffer[]> {
  return await Promise.all(
    Array.from({ length: scenes }, async (_, scene) => {
      const pixels = Buffer.alloc(side * side * 3);
      for (let i = 0; i < pixels.length; i++)
        pixels[i] = (((i % (side * 3)) >> 4) * (scene + 3) * 37 + (i >> 15)) & 255;
      return await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
        .jpeg()
        .toBuffer();
    }),
  );
}

function configOf(options: CamerasOptions, files: ModelFiles, cameras: number, url: string, stateDirectory: string) {
  const camera = { kind: 'camera', minIntervalMs: 0, duplicateThreshold: 0 };
  const names = Array.from({ length: cameras }, (_, i) => `camera${i + 1}`);
  return {
    node: { id: 'bench' },
    http: { enabled: false },
    mqtt: { url },
    stateDirectory,
    model: {
      path: resolve(files.modelPath),
      multimodalPath: resolve(files.multimodalPath),
      threads: options.threads,
      imageSize: options.imageSize,
    },
    queue: { concurrency: options.concurrency },
    governor: { enabled: false },
    streams: {
      ...Object.fromEntries(names.map((name) => [name, { ...camera, priority: 2 }])),
      [doorbell]: { ...camera, priority: 9 },
    },
    plugins: { captions: { config: { maxTokens: options.maxTokens } } },
  };
}

export class House {
  private constructor(
    private readonly options: CamerasOptions,
    private readonly cameras: readonly string[],
    private readonly frames: readonly Buffer[],
    private readonly broker: Mosquitto,
    private readonly peer: Peer,
    private readonly daemon: ChildProcess,
    private readonly directory: string,
  ) {}

  /** Resolves once the model is loaded and has captioned a first picture. */
  static async open(options: CamerasOptions, files: ModelFiles, cameras: number): Promise<House> {
    const directory = mkdtempSync(join(tmpdir(), 'hearth-bench-'));
    const broker = await startMosquitto();
    const peer = await connectPeer(broker.url, ['hearth/bench/#']);
    const config = configOf(options, files, cameras, broker.url, directory);
    writeFileSync(join(directory, 'hearth.yaml'), JSON.stringify(config));
    const daemon = spawn(
      process.execPath,
      [join(__dirname, '../../../daemon/hearthd.js'), '--config', join(directory, 'hearth.yaml')],
      { env: {}, stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const names = Object.keys(config.streams).filter((name) => name !== doorbell);
    const house = new House(options, names, await pictures(), broker, peer, daemon, directory);
    await house.until(() => house.said('hearth/bench/info').some(({ model }) => model !== null), 180_000);
    // The model may be there before the plugin is: then a frame finds nobody.
    const knocking = setInterval(() => house.send(doorbell, 0), 1000);
    await house.until(() => house.captions().length > 0, 180_000).finally(() => clearInterval(knocking));
    await house.quiet();
    peer.heard.length = 0;
    return house;
  }

  /** Lets everything send, and resolves to the captions once the last are there. */
  async live(): Promise<StreamEvent[]> {
    const { seconds, frameMs, doorbellMs } = this.options;
    let next = 1;
    const every = (ms: number, name: string, at: number): NodeJS.Timeout[] => {
      const timers: NodeJS.Timeout[] = [];
      timers.push(setTimeout(() => timers.push(setInterval(() => this.send(name, next++), ms)), at));
      return timers;
    };
    // Cameras are no orchestra: each begins at a time of its own.
    const timers = [
      ...this.cameras.map((name, i) => every(frameMs, name, (frameMs * i) / this.cameras.length)),
      every(doorbellMs, doorbell, doorbellMs / 2),
    ];
    await new Promise((done) => setTimeout(done, 1000 * seconds));
    for (const timer of timers.flat()) clearInterval(timer);
    await new Promise((done) => setTimeout(done, 5000));
    return this.captions();
  }

  async close(): Promise<void> {
    this.daemon.kill('SIGTERM');
    if (this.daemon.exitCode === null) await once(this.daemon, 'exit');
    await this.peer.close();
    await this.broker.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  static isDoorbell({ stream }: StreamEvent): boolean {
    return stream === doorbell;
  }

  private send(stream: string, scene: number): void {
    const frame = this.frames[scene % this.frames.length];
    if (frame !== undefined) this.peer.client.publish(`${base}/${stream}/frame`, frame);
  }

  private captions(): StreamEvent[] {
    return this.peer.heard
      .filter(({ topic }) => /^hearth\/bench\/out\/[^/]+\/caption$/.test(topic))
      .map(({ payload }) => JSON.parse(payload.toString()) as StreamEvent);
  }

  private said(topic: string): Record<string, unknown>[] {
    return this.peer.heard
      .filter((heard) => heard.topic === topic)
      .map(({ payload }) => JSON.parse(payload.toString()) as Record<string, unknown>);
  }

  /** Resolves once no caption has come for a while. */
  private async quiet(): Promise<void> {
    for (let before = -1; before !== this.captions().length; ) {
      before = this.captions().length;
      await new Promise((done) => setTimeout(done, 4000));
    }
  }

  private async until(holds: () => boolean, withinMs: number): Promise<void> {
    const end = Date.now() + withinMs;
    while (!holds()) {
      if (Date.now() > end || this.daemon.exitCode !== null) throw new Error('the daemon did not come up');
      await new Promise((done) => setTimeout(done, 100));
    }
  }
}
