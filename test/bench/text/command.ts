/** `bench text`: how fast text goes in and out, against llama.cpp on the same file. */

import { closeSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Command } from 'commander';
import { EngineChild } from '../engine/child';
import type { EngineName, LoadOptions } from '../engine/engine';
import { installPeer } from '../engine/install-peer';
import { decodeBytes, hearthReading, type Reading, readings } from '../model/decode-bytes';
import { type RandomModel, randomModel } from '../model/random-model';
import { type ModelName, modelConfig } from '../model/shapes';
import { describeCommit, describeMachine, isIdle } from '../report/machine';
import { textMarkdown, warningsOf } from '../report/markdown';
import type { DecodeBytes, Figure, Machine, ModelResult, TextResult } from '../report/result';
import { buildBandwidthTool, shareOfBandwidth } from './bandwidth';
import { figures, loadFigures, positionsNeeded, warmUp } from './figures';
import { type FigureGroup, type TextOptions, withTextOptions } from './options';
import { bestPeerSettings } from './peer-settings';
import { promptIds } from './prompt-ids';
import { compareToTargets } from './targets';

const root = join(__dirname, '../../../..');

export function textCommand(): Command {
  return withTextOptions(
    new Command('text').description(
      'Prefill, decode, time to first token, load time and memory of full-size models with random weights.',
    ),
  ).action(runText);
}

function progress(line: string): void {
  process.stderr.write(`bench: ${line}\n`);
}

async function runText(options: TextOptions): Promise<void> {
  const machine = describeMachine();
  const commit = describeCommit(root);
  const date = new Date().toISOString();
  const cache = resolve(options.cache);
  const peerDirectory = join(cache, 'peer');
  if (options.figures.includes('decode')) buildBandwidthTool(root);
  if (options.peer && options.figures.length > 0) installPeer(peerDirectory, progress);
  const names: readonly ModelName[] = options.model === 'both' ? ['e2b', 'e4b'] : [options.model];
  const models: ModelResult[] = [];
  for (const name of options.figures.length === 0 ? [] : names) {
    const model = randomModel(cache, name, modelConfig(name), progress);
    models.push(await measureModel(name, model, options, peerDirectory, machine));
  }
  const failures = models.flatMap(({ model, failures: lines }) => lines.map((line) => `${model}: ${line}`));
  const result: TextResult = {
    bench: 'text',
    date,
    commit,
    machine,
    options: { ...options },
    models,
    parity: options.parity ? await parity(options) : undefined,
    targets: compareToTargets(models),
    warnings: [...warningsOf(options.runs, machine, commit), ...failures],
  };
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
  process.stdout.write(textMarkdown(result));
  if (failures.length > 0) throw new Error('not everything could be measured; the report says what');
}

async function parity({ threads, isa, reference }: TextOptions): Promise<TextResult['parity']> {
  // The runtime comes into this process, now that nothing is timed any more.
  const { measureParity } = await import('../parity/parity.js');
  return await measureParity({ threads, isa, reference, onProgress: progress });
}

async function measureModel(
  name: ModelName,
  model: RandomModel,
  options: TextOptions,
  peerDirectory: string,
  machine: Machine,
): Promise<ModelResult> {
  const { threads, isa } = options;
  const positions = positionsNeeded(options);
  const { text } = model.config;
  const ids = promptIds(model.textIds, text.bos, positions);
  // A little more than is needed: llama.cpp keeps some back, and counts in steps of 256.
  const contextLength = Math.ceil((positions + 64) / 256) * 256;
  const load: Omit<LoadOptions, 'peer'> = { modelPath: model.path, threads, contextLength, isa };
  readThrough(model.path);
  const search = options.peer && options.peerSettings === undefined;
  const trials = search
    ? await bestPeerSettings(
        { ...load, peerDirectory },
        ids,
        { name: `${machine.cpu}, ${machine.cores} cores`, idle: isIdle(machine) },
        progress,
      )
    : [];
  const settings = options.peerSettings ?? trials[0];
  const loads: Record<EngineName, LoadOptions> = {
    hearth: { ...load, peer: undefined },
    peer: { ...load, peer: settings && { directory: peerDirectory, settings } },
  };
  const base = { root, options, model, ids, load: loads };
  const found: Figure[] = [];
  const failures: string[] = [];
  const measure = async (group: FigureGroup, figuresOf: () => Promise<readonly Figure[]>): Promise<void> => {
    progress(`${name}: ${group}`);
    try {
      found.push(...(await figuresOf()));
    } catch (error) {
      failures.push(`${group}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  if (options.figures.includes('load')) await measure('load', () => loadFigures(base));
  const sameChoice = { equal: 0, of: 0 };
  const hearth = await EngineChild.open('hearth', loads.hearth);
  let peer: EngineChild | undefined;
  try {
    if (options.peer) peer = await EngineChild.open('peer', loads.peer);
    for (const engine of peer ? [hearth, peer] : [hearth]) await warmUp(engine, ids);
    for (const group of options.figures)
      if (group !== 'load') await measure(group, () => figures[group]({ ...base, hearth, peer, sameChoice }));
    return {
      model: name,
      hearth: hearth.loaded.facts,
      peer: peer?.loaded.facts,
      file: { path: model.path, bytes: model.bytes },
      figures: found,
      decodeBytes: bytesOf(model, found),
      sameChoice: sameChoice.of > 0 ? sameChoice : undefined,
      peerTrials: trials,
      failures,
    };
  } finally {
    await hearth.close();
    await peer?.close();
  }
}

/** Puts the file into the page cache, so that no engine pays for being the first. */
function readThrough(path: string): void {
  const file = openSync(path, 'r');
  const buffer = Buffer.alloc(16 << 20);
  while (readSync(file, buffer) > 0);
  closeSync(file);
}

function bytesOf({ config, layout }: RandomModel, found: readonly Figure[]): DecodeBytes {
  const read = (reading: Reading): number => decodeBytes(config.text, layout, readings[reading]);
  const samplesOf = (id: string): readonly number[] =>
    found.find((figure) => figure.id === id)?.sides[0]?.samples ?? [];
  const share = shareOfBandwidth(read(hearthReading), samplesOf('decode-0'), samplesOf('bandwidth'));
  return { dense: read('dense'), sparse: read('sparse'), screened: read('screened'), hearth: hearthReading, share };
}
