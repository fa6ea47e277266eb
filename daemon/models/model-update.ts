/**
 * What is to be said about the model's version, and how far the download of a newer one is: the topic `model/update`, and
 * whoever shows it elsewhere.
 */
import { BehaviorSubject, type Observable } from 'rxjs';
import type { Catalogue, ModelSource } from './catalogue';

/** The keys Home Assistant knows in the state of an update entity. */
export interface ModelUpdate {
  /** Of the model that is loaded: its version in the catalogue, else the name of its file; null while there is none. */
  readonly installed_version: string | null;
  /** Of the catalogue; the installed one where it lists nothing that would follow it. */
  readonly latest_version: string | null;
  readonly title: string;
  /** A model is being downloaded, checked or loaded. */
  readonly in_progress: boolean;
  /** Whole percent of the download; null while there is none. */
  readonly update_percentage: number | null;
}

export interface ModelUpdateState extends ModelUpdate {
  /** Entry of the catalogue that is spoken of; null without a catalogue. */
  readonly source: string | null;
  readonly phase: 'idle' | 'downloading' | 'verifying' | 'loading';
  readonly received_bytes: number;
  /** Null where it is not known yet. */
  readonly total_bytes: number | null;
  /** Code and text of what ended the last attempt; null after one that went well. */
  readonly error: { readonly code: string; readonly message: string } | null;
}

/** For whoever shows it. */
export interface ModelUpdateView {
  state(): ModelUpdateState;
  /** Replays the current state to a new subscriber; while a download runs, at most a change a second. */
  readonly change$: Observable<ModelUpdateState>;
}

/** The model that is loaded, as far as its version is concerned. */
export interface ModelInUse {
  /** Entry of the catalogue it was pulled from; null for any other file. */
  readonly source: string | null;
  readonly version: string;
}

export interface Progress {
  readonly phase: 'downloading' | 'verifying';
  readonly receivedBytes: number;
  readonly totalBytes: number | null;
}

export class ModelUpdates implements ModelUpdateView {
  readonly #catalogue: Catalogue;
  readonly #inUse: () => ModelInUse | undefined;
  readonly #state: BehaviorSubject<ModelUpdateState>;
  #loading = false;
  #pulling: { readonly source: ModelSource; readonly progress: Progress } | undefined;
  #error: ModelUpdateState['error'] = null;

  constructor(catalogue: Catalogue, inUse: () => ModelInUse | undefined) {
    this.#catalogue = catalogue;
    this.#inUse = inUse;
    this.#state = new BehaviorSubject(this.#gather());
  }

  get change$(): Observable<ModelUpdateState> {
    return this.#state.asObservable();
  }

  state(): ModelUpdateState {
    return this.#state.value;
  }

  /** Another model is loaded, or none. */
  refresh(): void {
    this.#tell();
  }

  progress(source: ModelSource, progress: Progress): void {
    this.#pulling = { source, progress };
    this.#error = null;
    this.#tell();
  }

  /** The end of a download. */
  pulled(error: ModelUpdateState['error'] = null): void {
    this.#pulling = undefined;
    this.#error = asError(error);
    this.#tell();
  }

  loading(): void {
    this.#loading = true;
    this.#tell();
  }

  /** The end of a load. */
  ended(error: ModelUpdateState['error'] = null): void {
    this.#loading = false;
    this.#error = asError(error);
    this.#tell();
  }

  /** What an update without a name means: the entry that is being pulled, that of the loaded model, else the first. */
  get subject(): ModelSource | undefined {
    const loaded = this.#inUse()?.source;
    const own = loaded === null || loaded === undefined ? undefined : this.#catalogue.get(loaded);
    const [first] = this.#catalogue.values();
    return this.#pulling?.source ?? own ?? first;
  }

  #gather(): ModelUpdateState {
    const source = this.subject;
    const installed = this.#inUse()?.version ?? null;
    const progress = this.#pulling?.progress;
    const { phase = this.#loading ? 'loading' : 'idle', receivedBytes = 0, totalBytes = null } = progress ?? {};
    const downloading = phase === 'downloading' && totalBytes !== null && totalBytes > 0;
    return {
      installed_version: installed,
      latest_version: source?.version ?? installed,
      title: source?.title ?? 'model',
      in_progress: phase !== 'idle',
      update_percentage: downloading ? Math.floor((100 * receivedBytes) / totalBytes) : null,
      source: source?.name ?? null,
      phase,
      received_bytes: receivedBytes,
      total_bytes: totalBytes,
      error: this.#error,
    };
  }

  #tell(): void {
    const state = this.#gather();
    if (JSON.stringify(state) !== JSON.stringify(this.#state.value)) this.#state.next(state);
  }
}

function asError(error: ModelUpdateState['error']): ModelUpdateState['error'] {
  return error === null ? null : { code: error.code, message: error.message };
}

/** Exactly the keys Home Assistant takes; it warns of any other. */
export function asModelUpdate(state: ModelUpdateState): ModelUpdate {
  const { installed_version, latest_version, title, in_progress, update_percentage } = state;
  return { installed_version, latest_version, title, in_progress, update_percentage };
}
