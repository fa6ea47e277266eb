/** llama.cpp by way of node-llama-cpp, from where `install.ts` put it. Typed here as far as it is used. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';
import type { SliceRequest } from '../../../daemon/inference/types';
import type { BenchEngine, Decoded, FirstToken, Loaded, LoadOptions, SwitchedDecode } from './engine';

interface Sequence {
  readonly nextTokenIndex: number;
  clearHistory(): Promise<void>;
  eraseContextTokenRanges(ranges: { start: number; end: number }[]): Promise<void>;
  evaluate(
    ids: readonly number[],
    options: { temperature: number; yieldEogToken: boolean },
  ): AsyncGenerator<number, void, number | undefined>;
  readonly tokenMeter: { readonly usedInputTokens: number };
}

interface Context {
  readonly flashAttention: boolean | 'auto';
  readonly batchSize: number;
  readonly currentThreads: number;
  getSequence(): Sequence;
}

interface Model {
  readonly useMmap: boolean;
  createContext(options: {
    contextSize: number;
    batchSize: number;
    flashAttention: boolean;
    threads: { ideal: number; min: number };
  }): Promise<Context>;
}

interface Llama {
  readonly llamaCppRelease: { readonly release: string };
  readonly systemInfo: string;
  loadModel(options: { modelPath: string; useMmap: boolean; gpuLayers: number }): Promise<Model>;
}

interface NodeLlamaCpp {
  getLlama(options: {
    gpu: false;
    build: 'never';
    skipDownload: true;
    progressLogs: false;
    maxThreads: number;
    logLevel: string;
  }): Promise<Llama>;
}

const greedy = { temperature: 0, yieldEogToken: true };

export class PeerEngine implements BenchEngine {
  /** The ids of the timeline. */
  private timeline: readonly number[] = [];
  private kept: readonly number[] | undefined;

  private constructor(
    readonly loaded: Loaded,
    private readonly sequence: Sequence,
  ) {}

  static async open({ modelPath, threads, contextLength, peer }: LoadOptions): Promise<PeerEngine> {
    if (peer === undefined) throw new Error('the peer needs its settings');
    const directory = join(peer.directory, 'node_modules/node-llama-cpp');
    const { version } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8')) as { version: string };
    const module = (await import(pathToFileURL(join(directory, 'dist/index.js')).href)) as NodeLlamaCpp;
    const llama = await module.getLlama({
      gpu: false,
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      maxThreads: threads,
      logLevel: 'error',
    });
    const { flashAttention, batch, mmap } = peer.settings;
    const started = performance.now();
    const model = await llama.loadModel({ modelPath, useMmap: mmap, gpuLayers: 0 });
    const context = await model.createContext({
      contextSize: contextLength,
      batchSize: Math.min(batch, contextLength),
      flashAttention,
      threads: { ideal: threads, min: threads },
    });
    const sequence = context.getSequence();
    const ms = performance.now() - started;
    const facts = {
      version: `node-llama-cpp ${version}, llama.cpp ${llama.llamaCppRelease.release}`,
      'flash attention': context.flashAttention === true ? 'on' : 'off',
      'batch and micro-batch': String(context.batchSize),
      mmap: model.useMmap ? 'on' : 'off',
      threads: String(context.currentThreads),
      'CPU features': llama.systemInfo
        .replace(/^CPU : /, '')
        .replace(/ = 1/g, '')
        .replace(/ \| $/, ''),
    };
    return new PeerEngine({ ms, facts }, sequence);
  }

  async firstToken(ids: readonly number[]): Promise<FirstToken> {
    await this.sequence.clearHistory();
    this.timeline = [];
    const { ms, tokens } = await this.feed(ids, []);
    return { ms: ms[0] as number, token: tokens[0] as number };
  }

  async decode(context: readonly number[], ids: readonly number[], slice: SliceRequest): Promise<Decoded> {
    if (slice !== 'full') throw new Error('the peer runs the whole file only');
    await this.bringAbout(context);
    const [first, ...rest] = ids;
    return first === undefined ? { ms: [], tokens: [] } : await this.feed([first], rest);
  }

  decodeSwitching(): Promise<SwitchedDecode> {
    return Promise.reject(new Error('the peer has no slices'));
  }

  async keepPrefix(prefix: readonly number[]): Promise<void> {
    await this.bringAbout(prefix);
    this.kept = prefix;
  }

  /** As its own chat sessions do it: what comes after the prefix is taken off the timeline. */
  async firstTokenAfterPrefix(suffix: readonly number[]): Promise<FirstToken> {
    if (this.kept === undefined) throw new Error('no prefix was kept');
    if (!this.kept.every((id, i) => this.timeline[i] === id)) await this.bringAbout(this.kept);
    const started = performance.now();
    const again = await this.bringAbout(this.kept);
    const restored = performance.now() - started;
    if (again > 0) throw new Error(`llama.cpp computed ${again} tokens of the kept prefix again`);
    const { ms, tokens } = await this.feed(suffix, []);
    return { ms: restored + (ms[0] as number), token: tokens[0] as number };
  }

  /**
   * Leaves `context` in the timeline; resolves to how many of its tokens were computed. None, where the timeline begins
   * with it and local layers have not yet written over the cells that are needed.
   */
  private async bringAbout(context: readonly number[]): Promise<number> {
    const { sequence } = this;
    const before = sequence.tokenMeter.usedInputTokens;
    if (context.length > 0 && context.every((id, i) => this.timeline[i] === id)) {
      await sequence.eraseContextTokenRanges([{ start: context.length, end: sequence.nextTokenIndex }]);
    } else {
      await sequence.clearHistory();
      this.timeline = [];
      if (context.length > 0) await this.feed(context, []);
    }
    this.timeline = context;
    return sequence.tokenMeter.usedInputTokens - before;
  }

  /** Computes `first` at once and each of `rest` after it; the time and the choice after each of these steps. */
  private async feed(first: readonly number[], rest: readonly number[]): Promise<Decoded> {
    const ms: number[] = [];
    const tokens: number[] = [];
    const steps = this.sequence.evaluate([...first], greedy);
    let next: number | undefined;
    for (let i = 0; i <= rest.length; i++) {
      const started = performance.now();
      const { value, done } = await steps.next(next);
      ms.push(performance.now() - started);
      if (done || value === undefined) throw new Error('llama.cpp ended before it was asked to');
      tokens.push(value);
      next = rest[i];
    }
    await steps.return();
    this.timeline = [...this.timeline, ...first, ...rest];
    return { ms, tokens };
  }
}
