/** The request verbs `model/pull`, `model/load` and `model/slice`. */
import Ajv, { type ValidateFunction } from 'ajv';
import type { Bus, Request } from '../bus/bus';
import { HearthError } from '../errors';
import type { Pin } from '../governor/governor';
import type { ModelPuller } from '../models/model-puller';
import type { InstalledModel, ModelStore } from '../models/model-store';
import type { Loaded, ModelSwitch } from '../models/model-switch';
import type { ModelUpdates } from '../models/model-update';
import type { ChosenModel } from '../models/selection';

interface PullPayload {
  /** The entry `model/update` speaks of when left out. */
  readonly name?: string;
  readonly load?: boolean;
}

interface LoadPayload {
  readonly name?: string;
  readonly path?: string;
  readonly configured?: true;
  readonly slice?: string;
  readonly loadSlice?: string;
}

interface SlicePayload {
  readonly slice: string;
  readonly tailSlice?: string;
}

const ajv = new Ajv({ allErrors: true });
const name = { type: 'string', minLength: 1, maxLength: 128 };
const isPull = ajv.compile<PullPayload>({
  type: 'object',
  additionalProperties: false,
  properties: { id: {}, name, load: { type: 'boolean' } },
});
const isLoad = ajv.compile<LoadPayload>({
  type: 'object',
  additionalProperties: false,
  properties: {
    id: {},
    name,
    path: { type: 'string', minLength: 1, maxLength: 1024 },
    configured: { const: true },
    slice: name,
    loadSlice: name,
  },
});
const isSlice = ajv.compile<SlicePayload>({
  type: 'object',
  required: ['slice'],
  additionalProperties: false,
  properties: { id: {}, slice: name, tailSlice: name },
});

function parse<T>(verb: string, fits: ValidateFunction<T>, payload: unknown): T {
  if (fits(payload)) return payload;
  const problems = (fits.errors ?? [])
    .slice(0, 5)
    .map((error) => `${error.instancePath || 'payload'} ${error.message ?? 'does not fit'}`);
  throw new HearthError('REQUEST_INVALID', `${verb}: ${problems.join('; ')}`);
}

export interface ModelRequestsOptions {
  readonly bus: Pick<Bus, 'onRequest'>;
  readonly puller: ModelPuller;
  readonly store: ModelStore;
  readonly change: ModelSwitch;
  readonly updates: ModelUpdates;
}

const installedAs = ({ name: model, version, sizeBytes }: InstalledModel) => ({
  model,
  version,
  size_bytes: sizeBytes,
});

export class ModelRequests {
  constructor(private readonly options: ModelRequestsOptions) {}

  start(): void {
    const { bus } = this.options;
    bus.onRequest('model/pull', async (request) => await this.pull(request));
    bus.onRequest('model/load', async (request) => await this.load(request));
    bus.onRequest('model/slice', async (request) => await this.slice(request));
  }

  private async pull({ id, payload }: Request): Promise<unknown> {
    const { updates } = this.options;
    const { name: wanted = updates.subject?.name, load = false } = parse('model/pull', isPull, payload);
    if (wanted === undefined)
      throw new HearthError('MODEL_UNKNOWN', 'model/pull: expected an entry of model.sources, there is none');
    return await this.pullNamed(wanted, id, load);
  }

  /** Resolves when it is installed and, where that is asked for, loaded. Rejects as `ModelPuller.pull` and `ModelSwitch.load` do. */
  async pullNamed(wanted: string, id: string, load: boolean): Promise<unknown> {
    const installed = await this.options.puller.pull(wanted, { id, load });
    if (!load) return { ...installedAs(installed), loaded: false };
    const { name: model, key } = installed;
    return {
      ...installedAs(installed),
      loaded: true,
      ...(await this.use({ kind: 'installed', name: model, key }, {})),
    };
  }

  /** Goes on with what the end of the daemon interrupted; never rejects. */
  async resume(): Promise<void> {
    const { puller } = this.options;
    const left = puller.interrupted();
    if (left === undefined) return;
    const [first = 'resumed', ...others] = left.ids;
    const done = this.pullNamed(left.name, first, left.load);
    // Each of them can be cancelled by those who asked.
    await Promise.allSettled([done, ...others.map(async (id) => await puller.pull(left.name, { id }))]);
  }

  private async load({ payload }: Request): Promise<Loaded> {
    const { name: wanted, path, configured, slice, loadSlice } = parse('model/load', isLoad, payload);
    if ([wanted, path, configured].filter((given) => given !== undefined).length !== 1)
      throw new HearthError('REQUEST_INVALID', 'model/load: expected one of name, path and configured');
    return await this.use(this.chosen(wanted, path), { slice, loadSlice });
  }

  private chosen(wanted: string | undefined, path: string | undefined): ChosenModel | null {
    const { store } = this.options;
    if (path !== undefined) return { kind: 'path', path };
    if (wanted === undefined) return null;
    const found = store.find(wanted.replace(/:latest$/, ''));
    if (found !== undefined) return { kind: 'installed', name: found.name, key: found.key };
    const known = [...new Set(store.installed().map((model) => model.name))];
    throw new HearthError(
      'MODEL_UNKNOWN',
      `model/load: expected a model that was pulled (${known.slice(0, 16).join(', ') || 'there is none'}), received ${JSON.stringify(wanted.slice(0, 80))}`,
    );
  }

  private async use(
    chosen: ChosenModel | null,
    terms: { readonly slice?: string | undefined; readonly loadSlice?: string | undefined },
  ): Promise<Loaded> {
    const { change, updates } = this.options;
    updates.loading();
    try {
      const loaded = await change.load(chosen, terms);
      updates.ended();
      return loaded;
    } catch (error) {
      updates.ended(error instanceof HearthError ? error : null);
      throw error;
    }
  }

  private async slice({ payload }: Request): Promise<Loaded> {
    const { slice, tailSlice } = parse('model/slice', isSlice, payload);
    if (slice === 'auto' && tailSlice !== undefined)
      throw new HearthError('REQUEST_INVALID', 'model/slice: expected no tailSlice with auto');
    const pin: Pin = { slice, ...(tailSlice !== undefined && { tailSlice }) };
    return await this.options.change.pin(slice === 'auto' ? 'auto' : pin);
  }
}
