/** The process of one engine: loads a model when told to, then answers requests one after the other. */
import { readFileSync } from 'node:fs';
import type { BenchEngine, EngineName, LoadOptions, Memory, Request, Response } from './engine';

let engine: BenchEngine | undefined;

async function open(name: EngineName, options: LoadOptions): Promise<BenchEngine> {
  if (name === 'hearth') return await (await import('./hearth-engine.js')).HearthEngine.open(options);
  return await (await import('./peer-engine.js')).PeerEngine.open(options);
}

function memory(): Memory {
  const status = readFileSync('/proc/self/status', 'utf8');
  const bytes = (key: string): number =>
    1024 * Number(new RegExp(`^${key}:\\s*(\\d+) kB$`, 'm').exec(status)?.[1] ?? NaN);
  return { peakRssBytes: bytes('VmHWM'), anonymousBytes: bytes('RssAnon'), fileBytes: bytes('RssFile') };
}

async function answer({ method, args }: Request): Promise<unknown> {
  if (method === 'load') {
    engine = await open(...args);
    return engine.loaded;
  }
  if (method === 'memory') return memory();
  if (engine === undefined) throw new Error(`${method} before load`);
  const call = engine[method] as (...args: readonly unknown[]) => Promise<unknown>;
  return await call.apply(engine, [...args]);
}

let turn: Promise<void> = Promise.resolve();
process.on('message', (request: Request) => {
  turn = turn.then(async () => {
    let response: Response;
    try {
      response = { value: await answer(request) };
    } catch (error) {
      response = { error: error instanceof Error ? error.message : String(error) };
    }
    process.send?.(response);
  });
});
// The bench has ended, or was ended: nobody is left to answer, and a computation in hand would go on for minutes.
process.on('disconnect', () => process.exit(0));
