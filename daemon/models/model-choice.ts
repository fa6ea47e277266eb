/** Which files are to be loaded, and how: what was chosen at run time, else what the configuration names. */
import { basename } from 'node:path';
import type { Config } from '../config';
import { HearthError } from '../errors';
import type { Pin } from '../governor/governor';
import type { RunnerModel } from '../inference/runner-engine';
import { type Log, messageOf } from '../log';
import { locateModel } from './locate';
import type { ModelStore } from './model-store';
import type { ModelInUse } from './model-update';
import { type ChosenModel, readSelection, type Selection } from './selection';

/** A model that can be loaded. */
export interface ModelChoice {
  readonly selection: Selection;
  readonly runner: RunnerModel;
  readonly pin: Pin | null;
  readonly use: ModelInUse;
}

type Configured = Pick<Config, 'model' | 'stateDirectory'>;

/** Throws `CONFIG_INVALID`, `FILE_UNREADABLE` or `MODEL_UNKNOWN`. */
export function choiceOf(config: Configured, store: ModelStore, selection: Selection): ModelChoice {
  const { model: chosen, loadSlice } = selection;
  if (chosen === null) return configuredChoice(config, selection);
  const { files, use } = filesOf(store, chosen);
  const pin = selection.pin === 'auto' ? null : selection.pin;
  const runner = { ...files, loadSlice: loadSlice ?? undefined, defaultSlice: undefined };
  return { selection, runner, pin, use };
}

function configuredChoice(config: Configured, selection: Selection): ModelChoice {
  const files = locateModel(config);
  const { loadSlice, slice } = config.model;
  const configured = slice === null ? null : { slice };
  return {
    selection,
    runner: { ...files, loadSlice: loadSlice ?? undefined, defaultSlice: slice ?? undefined },
    pin: selection.pin === 'auto' ? null : (selection.pin ?? configured),
    use: { source: null, version: basename(files.modelPath) },
  };
}

function filesOf(store: ModelStore, chosen: ChosenModel) {
  if (chosen.kind === 'path')
    return { files: store.locate(chosen.path), use: { source: null, version: basename(chosen.path) } };
  const installed = store.find(chosen.name, chosen.key);
  if (installed !== undefined)
    return { files: installed.files, use: { source: installed.name, version: installed.version } };
  throw new HearthError('MODEL_UNKNOWN', `model: expected ${chosen.name}-${chosen.key} in the model directory`);
}

/** With what to begin. A chosen model that is not there any more is a warning. Throws as `locateModel` does. */
export function firstChoice(config: Configured, store: ModelStore, log?: Log): ModelChoice {
  const selection = readSelection(config.stateDirectory);
  try {
    return choiceOf(config, store, selection);
  } catch (error) {
    if (selection.model === null) throw error;
    log?.warn({ reason: messageOf(error) }, 'the chosen model is not there; that of the configuration is loaded');
    return choiceOf(config, store, { ...selection, model: null, loadSlice: null, pin: null });
  }
}
