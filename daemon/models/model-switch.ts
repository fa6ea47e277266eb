/**
 * Changes the model and its slice while the daemon runs. Jobs under way end first, those that wait go on waiting; what
 * cannot be loaded is gone back from. What is in force is kept for the next start.
 */
import type { Config } from '../config';
import { HearthError } from '../errors';
import type { Governor, Pin } from '../governor/governor';
import type { RunnerEngine } from '../inference/runner-engine';
import type { ModelInfo } from '../inference/types';
import { type Log, messageOf } from '../log';
import type { JobQueue } from '../streams/job-queue';
import { choiceOf, type ModelChoice } from './model-choice';
import type { InstalledModel, ModelStore } from './model-store';
import type { ModelInUse } from './model-update';
import { type ChosenModel, noSelection, type Selection, writeSelection } from './selection';

export interface ModelSwitchOptions {
  readonly config: Pick<Config, 'model' | 'stateDirectory'>;
  readonly store: ModelStore;
  readonly runner: Pick<RunnerEngine, 'load' | 'model'>;
  readonly governor: Pick<Governor, 'useModel' | 'pin' | 'pinned'>;
  readonly queue: Pick<JobQueue, 'pause' | 'resume'>;
  /** Undefined while no model is loaded. */
  readonly model: () => ModelInfo | undefined;
  readonly first: ModelChoice;
  readonly onChange: () => void;
  readonly log: Log;
  /** How long jobs under way may take to end. */
  readonly drainMs?: number;
}

export interface Loaded {
  readonly model: string;
  readonly version: string;
  readonly slice: string;
  readonly slices: readonly string[];
}

export class ModelSwitch {
  readonly #options: ModelSwitchOptions;
  #inForce: ModelChoice;
  #busy = false;

  constructor(options: ModelSwitchOptions) {
    this.#options = options;
    this.#inForce = options.first;
  }

  get inForce(): ModelChoice {
    return this.#inForce;
  }

  /** Undefined while what is loaded is not what was chosen, or not yet. */
  get inUse(): ModelInUse | undefined {
    const { runner, model } = this.#options;
    const chosen = this.#inForce;
    return model() !== undefined && runner.model.modelPath === chosen.runner.modelPath ? chosen.use : undefined;
  }

  /** What must stay on the disk. */
  isInUse({ files }: InstalledModel): boolean {
    return files.modelPath === this.#inForce.runner.modelPath;
  }

  /**
   * The first model is loaded, or will never be: then that of the configuration is. Rejects with what that is refused
   * for, or with `error` where there is no other.
   */
  async begin(loading: Promise<ModelInfo>): Promise<void> {
    // Nothing else is loaded until this is settled.
    await this.#alone(async () => await this.#begin(loading));
    this.#options.onChange();
  }

  async #begin(loading: Promise<ModelInfo>): Promise<void> {
    const { governor, log } = this.#options;
    try {
      const info = await loading;
      governor.useModel(info, this.#checkedPin(info));
    } catch (error) {
      if (this.#inForce.selection.model === null) throw error;
      log.error({ reason: messageOf(error) }, 'the chosen model cannot be loaded; that of the configuration is');
      const { config, store, runner } = this.#options;
      const configured = choiceOf(config, store, noSelection);
      const info = await runner.load(configured.runner);
      this.#inForce = configured;
      governor.useModel(info, configured.pin);
    }
  }

  /** A slice that was pinned, if the file still has it. */
  #checkedPin(info: ModelInfo): Pin | null {
    const { pin, selection } = this.#inForce;
    const chosen = selection.pin !== null && selection.pin !== 'auto';
    if (pin === null || !chosen) return pin;
    try {
      checkPin(pin, info);
      return pin;
    } catch (error) {
      this.#options.log.warn({ reason: messageOf(error) }, 'the pinned slice is not used');
      return null;
    }
  }

  /**
   * Loads a model of the model directory; null: that of the configuration. Resolves when it can be asked. Rejects with
   * what it was refused for, when the one before can be asked again, or with `MODEL_BUSY`.
   */
  async load(
    chosen: ChosenModel | null,
    { slice, loadSlice }: { readonly slice?: string | undefined; readonly loadSlice?: string | undefined } = {},
  ): Promise<Loaded> {
    const { config, store } = this.#options;
    const selection: Selection = {
      model: chosen,
      loadSlice: loadSlice ?? null,
      pin: slice === undefined ? null : { slice },
    };
    const next = choiceOf(config, store, selection);
    return await this.#alone(async () => {
      const info = this.#options.model();
      // The files of a version never change, so there is nothing to load.
      const same = JSON.stringify(this.#inForce.selection) === JSON.stringify(selection);
      if (chosen?.kind === 'installed' && same && info !== undefined) return this.#describe(info);
      return await this.#replace(next);
    });
  }

  /** Rejects when the model before is loaded again. */
  async #replace(next: ModelChoice): Promise<Loaded> {
    const { runner, store, onChange, log } = this.#options;
    await this.#drain();
    const before = this.#inForce;
    log.info({ model: next.use.version }, 'another model is being loaded');
    const info = await runner.load(next.runner).catch((error: unknown) => {
      throw store.withoutPaths(error);
    });
    try {
      this.#take(next, info);
    } catch (error) {
      this.#inForce = before;
      await this.#restore(before, error);
      throw error;
    } finally {
      onChange();
    }
    return this.#describe(info);
  }

  /** Pins the slice of all jobs that name none; `auto` leaves it to the governor. Rejects with `SLICE_INVALID`. */
  async pin(pin: Pin | 'auto'): Promise<Loaded> {
    const info = this.#options.model();
    if (info === undefined) throw new HearthError('ENGINE_NOT_READY', 'the model is not loaded yet');
    return await this.#alone(async () => {
      const { config, governor, onChange } = this.#options;
      if (pin !== 'auto') checkPin(pin, info);
      const selection = { ...this.#inForce.selection, pin };
      writeSelection(config.stateDirectory, selection);
      const inForce = pin === 'auto' ? null : pin;
      governor.pin(inForce);
      this.#inForce = { ...this.#inForce, selection, pin: inForce };
      onChange();
      return this.#describe(info);
    });
  }

  #take(next: ModelChoice, info: ModelInfo): void {
    const { governor, config } = this.#options;
    if (next.selection.pin !== null && next.selection.pin !== 'auto') checkPin(next.selection.pin, info);
    governor.useModel(info, next.pin);
    this.#inForce = next;
    writeSelection(config.stateDirectory, next.selection);
  }

  async #restore(before: ModelChoice, error: unknown): Promise<void> {
    const { runner, governor, log } = this.#options;
    log.warn({ reason: messageOf(error) }, 'the model is not used; the one before is loaded again');
    governor.useModel(await runner.load(before.runner), before.pin);
  }

  async #drain(): Promise<void> {
    const { queue, drainMs = 120_000 } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<true>((resolve) => {
      timer = setTimeout(() => resolve(true), drainMs);
    });
    const isLate = await Promise.race([queue.pause().then(() => false), late]);
    clearTimeout(timer);
    if (isLate) throw new HearthError('MODEL_BUSY', `expected the jobs under way to end within ${drainMs} ms`);
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy) throw new HearthError('MODEL_BUSY', 'expected no other change of the model to be under way');
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#busy = false;
      this.#options.queue.resume();
    }
  }

  #describe({ name, slices, loadedSlice }: ModelInfo): Loaded {
    const { pin, use } = this.#inForce;
    return { model: name, version: use.version, slice: pin?.slice ?? loadedSlice, slices };
  }
}

/** Throws `SLICE_INVALID`. */
export function checkPin({ slice, tailSlice }: Pin, { sliceInfos }: Pick<ModelInfo, 'sliceInfos'>): void {
  const named = (what: string, name: string) => {
    const found = sliceInfos.find((info) => info.name === name);
    if (found !== undefined) return found;
    throw new HearthError(
      'SLICE_INVALID',
      `${what}: expected one of ${sliceInfos.map((info) => info.name).join(', ')}, received ${JSON.stringify(name.slice(0, 64))}`,
    );
  };
  const { kvGroup } = named('slice', slice);
  if (tailSlice === undefined || named('tailSlice', tailSlice).kvGroup === kvGroup) return;
  const fitting = sliceInfos.filter((info) => info.kvGroup === kvGroup).map((info) => info.name);
  throw new HearthError(
    'SLICE_INVALID',
    `tailSlice: expected one that leaves the same keys and values as ${slice} (${fitting.join(', ')}), received ${tailSlice}`,
  );
}
