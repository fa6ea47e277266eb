/**
 * A clip on its way into the engine while it is being spoken: encoded as it comes, and prefilled behind what every prompt
 * that begins with a sound has in common. It leaves nothing but what the engine keeps anyhow, soft tokens by the samples
 * they are of and keys and values by the prompt they belong to, so that the job which comes with the whole clip finds
 * most of its work done, and one that never comes costs nothing more.
 */
import { concat } from '../media/concat';
import type { NativeLiveAudio, NativeSession, SoftTokens } from './native';
import { prefillAhead, type SparePool } from './prefill-ahead';
import { buildPrompt, type PromptTokenizer } from './prompt';
import type { Turns } from './step-scheduler';
import type { SliceRequest } from './types';

/** New soft tokens that are worth a step: fewer cost nearly as much as these, for the weights are read all the same. */
const worthwhile = 8;

export interface ListenerDependencies {
  readonly engine: PromptTokenizer & { listen(): NativeLiveAudio };
  readonly sessions: SparePool<NativeSession>;
  /** Its place among the jobs; steps end with `ENGINE_CANCELLED` once the signal is aborted. */
  readonly join: (signal: AbortSignal) => Turns;
  readonly slice: SliceRequest;
}

/** The ids of a prompt up to its sound, and with all of it. */
export function soundPrompt(engine: PromptTokenizer): { readonly before: Int32Array; readonly whole: Int32Array } {
  const audio = { samples: new Float32Array(0) };
  const { ids } = buildPrompt(engine, [{ role: 'user', parts: [{ type: 'audio', audio }] }]);
  const { audioSoftToken, endOfAudio } = engine.info.special;
  return { before: ids.slice(0, ids.indexOf(audioSoftToken)), whole: ids.slice(0, ids.indexOf(endOfAudio) + 1) };
}

export class Listener {
  readonly #dependencies: ListenerDependencies;
  readonly #audio: NativeLiveAudio;
  readonly #prompt: ReturnType<typeof soundPrompt>;
  readonly #turns: Turns;
  readonly #abort = new AbortController();
  #heard: Float32Array[] = [];
  /** The clip may be over: it is to be brought to its end, on trial. */
  #paused = false;
  /** That is done, and nothing was heard since. */
  #whole = false;
  #prefilled = 0;
  #working: Promise<void> | undefined;
  #closed = false;

  /** Throws what the runtime does, `MODEL_UNSUPPORTED` for a model without ears. */
  constructor(dependencies: ListenerDependencies) {
    this.#dependencies = dependencies;
    this.#audio = dependencies.engine.listen();
    this.#prompt = soundPrompt(dependencies.engine);
    this.#turns = dependencies.join(this.#abort.signal);
  }

  heard(samples: Float32Array): void {
    this.#heard.push(samples);
    this.#paused = this.#whole = false;
    this.#goOn();
  }

  paused(): void {
    this.#paused = !this.#whole;
    this.#goOn();
  }

  /** Resolves when everything is prepared, or nothing more will be. Never rejects. */
  async end(): Promise<void> {
    this.paused();
    await this.#working;
    this.#close();
  }

  cancel(): void {
    this.#abort.abort();
    if (this.#working === undefined) this.#close();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#audio.close();
  }

  #goOn(): void {
    if (this.#closed) return;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  /** An error, a cancellation among them, ends it: the job that comes with the clip does without, or gets the same. */
  async #work(): Promise<void> {
    try {
      while (this.#heard.length > 0 || this.#paused) await this.#step();
    } catch {
      this.#close();
    }
  }

  async #step(): Promise<void> {
    const { before, whole } = this.#prompt;
    if (this.#heard.length > 0) {
      const samples = concat(this.#heard.splice(0));
      const soft = await this.#turns.step(() => this.#audio.feed(samples));
      if (this.#paused || soft.count < this.#prefilled + worthwhile) return;
      await this.#prefill(whole.slice(0, before.length + soft.count), soft);
      this.#prefilled = soft.count;
    } else {
      this.#paused = false;
      this.#whole = true;
      await this.#prefill(whole, await this.#turns.step(() => this.#audio.clip()));
    }
  }

  /** No further than one step once more was heard. */
  async #prefill(ids: Int32Array, soft: SoftTokens): Promise<void> {
    const { sessions, slice } = this.#dependencies;
    await prefillAhead({ turns: this.#turns, sessions, ids, soft: [soft], slice }, () => this.#heard.length === 0);
  }
}
