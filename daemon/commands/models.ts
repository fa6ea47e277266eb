/** `hearth model list`, `use` and `remove`: what is in the model directory, and which of it the next start loads. */
import type { Config } from '../config';
import { HearthError } from '../errors';
import { type Catalogue, catalogueOf } from '../models/catalogue';
import { firstChoice } from '../models/model-choice';
import type { InstalledModel, ModelStore } from '../models/model-store';
import { noSelection, readSelection, writeSelection } from '../models/selection';

type Configured = Pick<Config, 'model' | 'stateDirectory'>;

const megabytes = (bytes: number): string => `${Math.ceil(bytes / 1e6)} MB`;

/** One line for each version that is there and for each entry of the catalogue that is not. */
export function listModels(config: Configured, store: ModelStore): string[] {
  const catalogue = catalogueOf(config);
  const installed = store.installed();
  const chosen = pathInForce(config, store);
  const lines = installed.map((model) => {
    const state = model.files.modelPath === chosen ? 'chosen' : stateOf(model, catalogue);
    return `${state.padEnd(9)} ${model.name} ${model.version}: ${megabytes(model.sizeBytes)}`;
  });
  const missing = [...catalogue.values()].filter(
    ({ name, key }) => !installed.some((model) => model.name === name && model.key === key),
  );
  return [...lines, ...missing.map(({ name, version }) => `${'available'.padEnd(9)} ${name} ${version}`)];
}

function pathInForce(config: Configured, store: ModelStore): string | undefined {
  try {
    return firstChoice(config, store).runner.modelPath;
  } catch {
    // Nothing is configured, or it is not there: then none of these is it.
    return undefined;
  }
}

function stateOf({ name, key }: InstalledModel, catalogue: Catalogue): string {
  return catalogue.get(name)?.key === key ? 'installed' : 'old';
}

function installedNamed(store: ModelStore, name: string): InstalledModel {
  const found = store.find(name);
  if (found !== undefined) return found;
  const known = [...new Set(store.installed().map((model) => model.name))];
  throw new HearthError(
    'MODEL_UNKNOWN',
    `expected a model that was pulled (${known.join(', ') || 'there is none'}), received ${JSON.stringify(name.slice(0, 80))}`,
  );
}

/** What the next start of the daemon loads; undefined is the model of the configuration. Throws `MODEL_UNKNOWN` or `FILE_WRITE_FAILED`. */
export function useModel({ stateDirectory }: Configured, store: ModelStore, name: string | undefined): void {
  const installed = name === undefined ? undefined : installedNamed(store, name);
  const model = installed && ({ kind: 'installed', name: installed.name, key: installed.key } as const);
  writeSelection(stateDirectory, { ...noSelection, model: model ?? null });
}

/** All versions of it. Throws `MODEL_UNKNOWN`, and `MODEL_BUSY` for the one that is chosen. */
export function removeModel({ stateDirectory }: Configured, store: ModelStore, name: string): string[] {
  installedNamed(store, name);
  const { model: chosen } = readSelection(stateDirectory);
  if (chosen?.kind === 'installed' && chosen.name === name) {
    throw new HearthError(
      'MODEL_BUSY',
      `expected a model that is not used, ${name} is; hearth model use lets go of it`,
    );
  }
  return store.installed().flatMap((model) => {
    if (model.name !== name) return [];
    store.remove(model);
    return [`removed ${name} ${model.version}`];
  });
}
