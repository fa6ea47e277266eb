/** `bench live-audio`: from the end of speech to the first word, heard while it was spoken and as a whole clip. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { loadConfig } from '../../../daemon/config';
import { generate } from '../../../daemon/inference/generate';
import { Listener } from '../../../daemon/inference/listener';
import { NativeEngine, type NativeSession } from '../../../daemon/inference/native';
import { SessionPool } from '../../../daemon/inference/session-pool';
import { StepScheduler } from '../../../daemon/inference/step-scheduler';
import { modelSampleRate } from '../../../daemon/media/sample-rate';
import { Noise } from '../model/noise';
import { describeMachine } from '../report/machine';
import { shown } from '../report/markdown';
import { interleave, summarise } from '../report/statistics';

interface LiveAudioOptions {
  readonly model: string;
  readonly multimodal: string;
  readonly seconds: readonly number[];
  readonly runs: number;
  readonly threads: number;
}

/** What a microphone sends at a time, and how long segments wait for the speaker to go on. */
const chunkMs = 100;
const { endSilenceMs, keepSilenceMs } = loadConfig({ env: {} }).defaults.microphone.audio;
const prompt = 'Transcribe the audio.';

function count(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > 1000)
    throw new InvalidArgumentError('Expected a whole number from 1.');
  return value;
}

function clipLengths(text: string): number[] {
  const lengths = text.split(',').map(Number);
  if (!lengths.every((seconds) => seconds >= 0.1 && seconds <= 30))
    throw new InvalidArgumentError('Expected lengths from 0.1 to 30 s.');
  return lengths;
}

export function liveAudioCommand(): Command {
  return new Command('live-audio')
    .description('From the end of speech to the first word: heard while it was spoken, and as a whole clip.')
    .option('--model <file>', 'text model', 'daemon/demo/model/nano.gguf')
    .option('--multimodal <file>', 'its audio encoder', 'daemon/demo/model/mmproj-nano.gguf')
    .option('--seconds <list>', 'lengths of the clips', clipLengths, [3, 10, 30])
    .option('--runs <n>', 'of each', count, 3)
    .option('--threads <n>', 'of the engine', count, 2)
    .action(runLiveAudio);
}

class Room {
  readonly #sessions: SessionPool<NativeSession>;
  readonly #scheduler = new StepScheduler();

  constructor(private readonly engine: NativeEngine) {
    this.#sessions = new SessionPool(() => engine.newSession(), 1);
  }

  /** Milliseconds to the first token of a reply. */
  async firstWord(samples: Float32Array): Promise<number> {
    const session = this.#sessions.take();
    const parts = [
      { type: 'audio' as const, audio: { samples } },
      { type: 'text' as const, text: prompt },
    ];
    const { step } = this.#scheduler.join(0, new AbortController().signal);
    const started = performance.now();
    const { timings } = await generate(
      this.engine,
      session,
      { messages: [{ role: 'user', parts }], maxTokens: 1 },
      { slice: 'full', imageSize: 0 },
      { onText: () => undefined, step },
    );
    this.#sessions.give(session);
    return Math.min(timings.firstToken, performance.now() - started);
  }

  /** In real time: from the moment at which the pause after the speech has been long enough. */
  async live(samples: Float32Array): Promise<number> {
    const listener = new Listener({
      engine: this.engine,
      sessions: this.#sessions,
      join: (signal) => this.#scheduler.join(0, signal),
      slice: 'full',
    });
    const chunk = (modelSampleRate * chunkMs) / 1000;
    for (let at = 0; at < samples.length; at += chunk) {
      await sleep(chunkMs);
      listener.heard(samples.slice(at, at + chunk));
    }
    listener.paused();
    await sleep(Math.max(0, endSilenceMs - keepSilenceMs));
    const ended = performance.now();
    await listener.end();
    return performance.now() - ended + (await this.firstWord(samples));
  }
}

async function runLiveAudio({ model, multimodal, seconds, runs, threads }: LiveAudioOptions): Promise<void> {
  const options = { modelPath: model, multimodalPath: multimodal, threads, contextLength: 1024 };
  const engine = await NativeEngine.open({ ...options, prefixCacheBytes: 256 << 20 });
  const room = new Room(engine);
  // No two clips alike: nothing of one is known from another.
  const noise = new Noise('speech', 'samples', 'f32', 0.1);
  const clip = (length: number): Float32Array => {
    const values = Math.round(length * modelSampleRate);
    return new Float32Array(noise.next(Math.ceil(values / 32) * 32).buffer).slice(0, values);
  };
  await room.firstWord(clip(1));
  const lines: string[] = [];
  for (const length of seconds) {
    process.stderr.write(`bench: ${length} s\n`);
    const [batch, live] = (
      await interleave(runs, [
        async () => await room.firstWord(clip(length)),
        async () => await room.live(clip(length)),
      ])
    ).map(summarise);
    if (batch === undefined || live === undefined) continue;
    const ratio = batch.median / live.median;
    lines.push(`| ${length} s | ${shown(batch.median)} ms | ${shown(live.median)} ms | ${shown(ratio)}x |`);
  }
  const { cpu, cores, load } = describeMachine();
  process.stdout.write(
    [
      '# From the end of speech to the first word',
      '',
      `${cpu}, ${cores} cores, load ${shown(load)}; ${engine.info.name}, ${engine.info.isa}, ${threads} threads; medians of ${runs}.`,
      'It counts from when a segment is known to be over, with either way.',
      '',
      '| clip | whole | heard while spoken | |',
      '|---|---|---|---|',
      ...lines,
      '',
    ].join('\n'),
  );
}
