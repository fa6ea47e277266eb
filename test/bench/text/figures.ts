/** The text figures: what is asked of which engine, in which order. */
import type { SliceRequest } from '../../../daemon/inference/types';
import { EngineChild } from '../engine/child';
import type { EngineName, LoadOptions } from '../engine/engine';
import type { RandomModel } from '../model/random-model';
import { makeFigure } from '../report/figure';
import type { Figure } from '../report/result';
import { interleave } from '../report/statistics';
import { readBandwidth } from './bandwidth';
import type { FigureGroup, TextOptions } from './options';

/** What the figures of one model are measured with. */
export interface Bench {
  readonly root: string;
  readonly options: TextOptions;
  readonly model: RandomModel;
  /** As many ids as the longest figure needs. */
  readonly ids: readonly number[];
  readonly load: Readonly<Record<EngineName, LoadOptions>>;
  readonly hearth: EngineChild;
  readonly peer: EngineChild | undefined;
  /** Both engines choose a token after the same ids: counted by `decode`. */
  readonly sameChoice: { equal: number; of: number };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
const perSecond = (tokens: number, ms: number): number => (1000 * tokens) / ms;

/** Weights of a mapped file are read in by the first tokens, and a pool of threads wakes up. */
export async function warmUp(engine: EngineChild, ids: readonly number[]): Promise<void> {
  await engine.firstToken(ids.slice(0, 64));
  await engine.decode([], ids.slice(0, 4), 'full');
}

/** The second side only where there is a peer. */
function both<T>(hearth: T, peer: T | undefined): T[] {
  return peer === undefined ? [hearth] : [hearth, peer];
}

async function decodeRate(engine: EngineChild, bench: Bench, context: number, slice: SliceRequest): Promise<number> {
  const { decodeTokens } = bench.options;
  const { ms } = await engine.decode(
    bench.ids.slice(0, context),
    bench.ids.slice(context, context + decodeTokens),
    slice,
  );
  return perSecond(ms.length, sum(ms));
}

async function prefillRate(engine: EngineChild, bench: Bench, tokens: number): Promise<number> {
  return perSecond(tokens, (await engine.firstToken(bench.ids.slice(0, tokens))).ms);
}

/** In fresh processes, before the others are there: load a model, answer once, look at the memory. */
export async function loadFigures(bench: Omit<Bench, 'hearth' | 'peer' | 'sameChoice'>): Promise<Figure[]> {
  const { options, ids, load } = bench;
  const peaks: Record<EngineName, number[]> = { hearth: [], peer: [] };
  const once = (name: EngineName) => async (): Promise<number> =>
    await EngineChild.with(name, load[name], async (engine) => {
      await engine.firstToken(ids.slice(0, 512));
      await engine.decode(ids.slice(0, 512), ids.slice(512, 528), 'full');
      peaks[name].push((await engine.memory()).peakRssBytes);
      return engine.loaded.ms;
    });
  const [hearth, peer] = await interleave(options.runs, both(once('hearth'), options.peer ? once('peer') : undefined));
  return [
    makeFigure('load', 'load, file in the page cache', 'ms', { hearth, 'llama.cpp': peer }),
    makeFigure('peak-rss', 'peak RSS after prefill 512 and 16 tokens', 'bytes', {
      hearth: peaks.hearth,
      'llama.cpp': peer && peaks.peer,
    }),
  ];
}

async function prefillFigures(bench: Bench): Promise<Figure[]> {
  const { options, hearth, peer } = bench;
  const figures: Figure[] = [];
  for (const tokens of options.prefill) {
    const side = (engine: EngineChild) => () => prefillRate(engine, bench, tokens);
    const [ours, theirs] = await interleave(options.runs, both(side(hearth), peer && side(peer)));
    figures.push(
      makeFigure(`prefill-${tokens}`, `prefill ${tokens}`, 'tokens/s', { hearth: ours, 'llama.cpp': theirs }),
    );
  }
  return figures;
}

/** `side`, with the mean of what `measure` gives before and after it put into `means`. */
function between(measure: () => Promise<number>, side: () => Promise<number>, means: number[]): () => Promise<number> {
  return async () => {
    const before = await measure();
    const sample = await side();
    means.push((before + (await measure())) / 2);
    return sample;
  };
}

async function decodeFigures(bench: Bench): Promise<Figure[]> {
  const { options, hearth, peer, root, sameChoice } = bench;
  const figures: Figure[] = [];
  const bandwidths: number[] = [];
  for (const context of options.decode) {
    const label = `decode ${options.decodeTokens} after ${context}`;
    const side = (engine: EngineChild) => () => decodeRate(engine, bench, context, 'full');
    const bandwidth = async (): Promise<number> => readBandwidth(root, options.threads) / 1e9;
    const sides = both(side(hearth), peer && side(peer));
    // What the memory of a shared machine gives comes and goes: it is measured right before and after each run.
    const [ours, ...rest] = await interleave(
      options.runs,
      context === 0 ? [between(bandwidth, side(hearth), bandwidths), ...sides.slice(1)] : sides,
    );
    const theirs = peer && rest[0];
    figures.push(makeFigure(`decode-${context}`, label, 'tokens/s', { hearth: ours, 'llama.cpp': theirs }));
    if (context === 0)
      figures.push(makeFigure('bandwidth', 'read bandwidth', 'GB/s', { [`${options.threads} threads`]: bandwidths }));
    if (peer !== undefined) await compareChoices(bench, context, sameChoice);
  }
  return figures;
}

async function compareChoices(
  { hearth, peer, ids, options }: Bench,
  context: number,
  count: Bench['sameChoice'],
): Promise<void> {
  const fed = ids.slice(context, context + options.decodeTokens);
  const ours = await hearth.decode(ids.slice(0, context), fed, 'full');
  const theirs = await peer?.decode(ids.slice(0, context), fed, 'full');
  count.of += fed.length;
  count.equal += ours.tokens.filter((token, i) => token === theirs?.tokens[i]).length;
}

async function firstTokenFigures(bench: Bench): Promise<Figure[]> {
  const { options, hearth, peer, ids } = bench;
  const { prefix, suffix } = options;
  const prompt = ids.slice(0, prefix + suffix);
  const end = prompt.slice(prefix);
  const engines = both(hearth, peer);
  for (const engine of engines) await engine.keepPrefix(prompt.slice(0, prefix));
  const cold = (engine: EngineChild) => async (): Promise<number> => (await engine.firstToken(prompt)).ms;
  const cached = (engine: EngineChild) => async (): Promise<number> => (await engine.firstTokenAfterPrefix(end)).ms;
  const samples = await interleave(options.runs, [...engines.map(cold), ...engines.map(cached)]);
  const [ours, theirs, oursCached, theirsCached] =
    peer === undefined ? [samples[0], undefined, samples[1], undefined] : samples;
  const what = `first token of ${prompt.length}`;
  return [
    makeFigure('first-token', `${what}, cold`, 'ms', { hearth: ours, 'llama.cpp': theirs }),
    makeFigure('first-token-cached', `${what}, ${prefix} of them cached`, 'ms', {
      hearth: oursCached,
      'llama.cpp': theirsCached,
    }),
    makeFigure('cached-prefix', `${what}: prefix cached / cold`, 'ms', { cached: oursCached, cold: ours }),
  ];
}

/** E4B's own: the slice that is E2B, and a change of the layers above those that write keys and values. */
async function sliceFigures(bench: Bench): Promise<Figure[]> {
  const { options, hearth, ids, model } = bench;
  const { text } = model.config;
  if (text.layers !== 35 || text.sharedKvLayers !== 15) return [];
  const side = (slice: string) => () => decodeRate(hearth, bench, 0, slice);
  const [e2b, full] = await interleave(options.runs, [side('e2b'), side('full')]);
  const tail: SliceRequest = {
    ffnWidths: text.ffnWidths.map((width, layer) => (layer < text.layers - text.sharedKvLayers ? width : width / 2)),
    skippedLayers: [],
  };
  const stepMs: number[] = [];
  const [switchMs] = await interleave(options.runs, [
    async () => {
      const decoded = await hearth.decodeSwitching(ids.slice(0, 32), ids.slice(32, 32 + options.decodeTokens), [
        'full',
        tail,
      ]);
      stepMs.push(sum(decoded.ms) / decoded.ms.length);
      return sum(decoded.switchMs) / decoded.switchMs.length;
    },
  ]);
  return [
    makeFigure('slice-e2b', `decode ${options.decodeTokens}: slice e2b / full`, 'tokens/s', { 'slice e2b': e2b, full }),
    makeFigure('slice-switch', 'a tail slice switched for every token: the switch / the token', 'ms', {
      switch: switchMs,
      token: stepMs,
    }),
  ];
}

/** What is lost when there are more threads than cores, as when another process takes some. */
async function threadFigures(bench: Bench): Promise<Figure[]> {
  const { options, hearth, ids, load } = bench;
  const many = options.threads * 2;
  return await EngineChild.with('hearth', { ...load.hearth, threads: many }, async (crowded) => {
    await warmUp(crowded, ids);
    const sides = (rate: (engine: EngineChild) => Promise<number>) =>
      interleave(options.runs, [() => rate(crowded), () => rate(hearth)]);
    const [prefillMany, prefill] = await sides((engine) => prefillRate(engine, bench, 512));
    const [decodeMany, decode] = await sides((engine) => decodeRate(engine, bench, 0, 'full'));
    const names = [`${many} threads`, `${options.threads} threads`] as const;
    const figure = (id: string, label: string, first: number[] | undefined, second: number[] | undefined): Figure =>
      makeFigure(id, label, 'tokens/s', { [names[0]]: first, [names[1]]: second });
    return [
      figure('threads-prefill', `prefill 512: ${names.join(' / ')}`, prefillMany, prefill),
      figure('threads-decode', `decode ${options.decodeTokens}: ${names.join(' / ')}`, decodeMany, decode),
    ];
  });
}

/** Those that share one long-lived process for each engine. */
export const figures: Readonly<Record<Exclude<FigureGroup, 'load'>, (bench: Bench) => Promise<Figure[]>>> = {
  prefill: prefillFigures,
  decode: decodeFigures,
  'first-token': firstTokenFigures,
  slice: sliceFigures,
  threads: threadFigures,
};

/** Positions the longest of the figures takes. */
export function positionsNeeded({ prefill, decode, decodeTokens, prefix, suffix }: TextOptions): number {
  // What the fixed figures and the search for llama.cpp's settings take.
  const fixed = 1024 + 16;
  return Math.max(fixed, ...prefill, ...decode.map((context) => context + decodeTokens), prefix + suffix);
}
