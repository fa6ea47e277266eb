/** llama.cpp at its best: its settings are tried on this machine with this model, and what was found is kept. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { EngineChild } from '../engine/child';
import type { LoadOptions, PeerSettings } from '../engine/engine';
import { peerVersion } from '../engine/install-peer';
import type { PeerTrial } from '../report/result';

/** Tokens of the prompt, more than the largest batch but one, and tokens to decode. */
const promptTokens = 1024;
const decodeTokens = 16;
/** Reading the file instead of mapping it takes several times as long to load: it has to win by more than noise. */
const mmapOffMustGain = 1.03;

const candidates: readonly PeerSettings[] = [true, false].flatMap((flashAttention) =>
  [256, 512, 1024].map((batch) => ({ flashAttention, batch, mmap: true })),
);

export type LoadPeer = Omit<LoadOptions, 'peer'> & { readonly peerDirectory: string };

async function tryOut(load: LoadPeer, settings: PeerSettings, ids: readonly number[]): Promise<PeerTrial> {
  const { peerDirectory: directory, ...options } = load;
  return await EngineChild.with('peer', { ...options, peer: { directory, settings } }, async (peer) => {
    await peer.firstToken(ids.slice(0, 32));
    const prompt = ids.slice(0, promptTokens);
    const { ms } = await peer.firstToken(prompt);
    const decoded = await peer.decode(prompt, ids.slice(promptTokens, promptTokens + decodeTokens), 'full');
    const decodeMs = decoded.ms.reduce((sum, step) => sum + step, 0);
    return {
      ...settings,
      prefill: (1000 * prompt.length) / ms,
      decode: (1000 * decoded.ms.length) / decodeMs,
      loadMs: peer.loaded.ms,
      peakRssBytes: (await peer.memory()).peakRssBytes,
    };
  });
}

/** A prompt's rate and a reply's weigh the same. */
const score = ({ prefill, decode }: PeerTrial): number => Math.sqrt(prefill * decode);

/** The best first; of several trials of the same settings, the better one. */
export function inOrder(trials: readonly PeerTrial[]): PeerTrial[] {
  const worth = (trial: PeerTrial): number => score(trial) / (trial.mmap ? 1 : mmapOffMustGain);
  const best = new Map<string, PeerTrial>();
  for (const trial of trials.toSorted((a, b) => worth(b) - worth(a))) {
    const { flashAttention, batch, mmap } = trial;
    const key = [flashAttention, batch, mmap].join();
    if (!best.has(key)) best.set(key, trial);
  }
  return [...best.values()];
}

/** Prompts come out of `ids`, of which 1040 are needed. What is found is kept when the machine was idle. */
export async function bestPeerSettings(
  load: LoadPeer,
  ids: readonly number[],
  machine: { readonly name: string; readonly idle: boolean },
  onProgress: (line: string) => void,
): Promise<PeerTrial[]> {
  const key = [peerVersion, machine.name, load.threads, basename(load.modelPath)].join('|');
  const path = join(load.peerDirectory, 'settings.json');
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, PeerTrial[]>) : {};
  const found = known[key];
  if (found !== undefined) return found;
  const trials: PeerTrial[] = [];
  const next = async (settings: PeerSettings): Promise<void> => {
    const { flashAttention, batch, mmap } = settings;
    onProgress(
      `llama.cpp with flash attention ${flashAttention ? 'on' : 'off'}, batch ${batch}, mmap ${mmap ? 'on' : 'off'}`,
    );
    trials.push(await tryOut(load, { flashAttention, batch, mmap }, ids));
  };
  for (const settings of candidates) await next(settings);
  // What was slow the first time may have been unlucky.
  for (const settings of inOrder(trials).slice(0, 3)) await next(settings);
  await next({ ...(inOrder(trials)[0] as PeerTrial), mmap: false });
  const ordered = inOrder(trials);
  if (machine.idle) writeFileSync(path, `${JSON.stringify({ ...known, [key]: ordered }, null, 1)}\n`);
  return ordered;
}
