/** What holds for each stream: the configuration, and above it what `stream/set` changed, which outlives the daemon. */
import { type Observable, Subject } from 'rxjs';
import { isName } from '../bus/topics';
import {
  type CameraConfig,
  type Config,
  changeProblem,
  type MicrophoneConfig,
  type StreamChanges,
  type StreamKind,
  type StreamOptions,
  settableValues,
  withChanges,
} from '../config';
import type { Log } from '../log';
import { messageOf } from '../log';
import type { StateFile } from '../state-file';

/** What was changed of a stream. */
interface Changed {
  /** Whether the configuration listed it then: once it is taken out there, it is gone. */
  readonly listed: boolean;
  readonly options: StreamChanges;
}

export interface StreamSettingsOptions {
  readonly config: Pick<Config, 'streams' | 'defaults' | 'limits'>;
  readonly file: StateFile;
  readonly log: Pick<Log, 'info' | 'warn'>;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const version = 1;

export class StreamSettings {
  readonly #options: StreamSettingsOptions;
  readonly #changed = new Map<string, Changed>();
  readonly #change$ = new Subject<string>();
  /** Names of streams that are no longer what they were. */
  readonly change$: Observable<string> = this.#change$.asObservable();

  constructor(options: StreamSettingsOptions) {
    this.#options = options;
  }

  /** Takes up what was kept. What does not fit the configuration any more is dropped, with a warning. Never rejects. */
  async load(): Promise<void> {
    const { file, log } = this.#options;
    const dropped: string[] = [];
    try {
      const kept = await file.read();
      if (kept === undefined) return;
      if (!isRecord(kept) || kept['v'] !== version || !isRecord(kept['streams'])) {
        dropped.push(`expected {"v": ${version}, "streams": {...}}`);
      } else {
        for (const [stream, entry] of Object.entries(kept['streams'])) this.#take(stream, entry, dropped);
      }
    } catch (error) {
      dropped.push(messageOf(error));
    }
    for (const [stream, { options }] of this.#changed) log.info({ stream, options }, 'a stream is as it was set');
    if (dropped.length === 0) return;
    for (const reason of dropped) log.warn({ reason }, 'something that stream/set had changed does not hold any more');
    await this.#keep();
  }

  /** The kinds a stream may be of; both, for one that is not listed. */
  kinds(stream: string): readonly StreamKind[] {
    const kind = this.#listed(stream)?.kind;
    return kind === undefined ? ['camera', 'microphone'] : [kind];
  }

  camera(stream: string): StreamOptions<CameraConfig> {
    const listed = this.#listed(stream);
    const options = listed?.kind === 'camera' ? listed : this.#options.config.defaults.camera;
    return withChanges('camera', options, this.changes(stream));
  }

  microphone(stream: string): StreamOptions<MicrophoneConfig> {
    const listed = this.#listed(stream);
    const options = listed?.kind === 'microphone' ? listed : this.#options.config.defaults.microphone;
    return withChanges('microphone', options, this.changes(stream));
  }

  /** What differs from the configuration; nothing, for most. */
  changes(stream: string): StreamChanges {
    return this.#changed.get(stream)?.options ?? {};
  }

  changedStreams(): readonly string[] {
    return [...this.#changed.keys()];
  }

  /** All that can be set, as it is in force. */
  inForce(stream: string): Readonly<Record<string, unknown>> {
    const values = this.kinds(stream).map((kind) =>
      settableValues(kind, kind === 'camera' ? this.camera(stream) : this.microphone(stream)),
    );
    return Object.assign({}, ...values.reverse()) as Record<string, unknown>;
  }

  /**
   * Null takes an option back to the configuration, `reset` all of them, before `changes` hold. Values have to be checked
   * (`changeProblem`). Resolves to whether they will outlive the daemon.
   */
  async set(stream: string, changes: StreamChanges, reset: boolean): Promise<boolean> {
    const given = { ...(reset ? {} : this.changes(stream)), ...changes };
    const options = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
    if (Object.keys(options).length === 0) this.#changed.delete(stream);
    else this.#changed.set(stream, { listed: this.#listed(stream) !== undefined, options });
    this.#change$.next(stream);
    return await this.#keep();
  }

  #listed(stream: string): CameraConfig | MicrophoneConfig | undefined {
    const { streams } = this.#options.config;
    return Object.hasOwn(streams, stream) ? streams[stream] : undefined;
  }

  #take(stream: string, entry: unknown, dropped: string[]): void {
    const known = this.#listed(stream) !== undefined;
    if (!isName(stream) || !isRecord(entry) || !isRecord(entry['options'])) {
      dropped.push(`${stream.slice(0, 80)}: expected the options of a stream`);
      return;
    }
    if (!known && (entry['listed'] === true || !this.#options.config.limits.acceptUnlistedStreams)) {
      dropped.push(`${stream}: expected a stream of the configuration`);
      return;
    }
    const kinds = this.kinds(stream);
    const options = Object.entries(entry['options']).filter(([path, value]) => {
      const problem = changeProblem(kinds, path, value);
      if (problem !== undefined) dropped.push(`${stream}.${path.slice(0, 80)}: ${problem}`);
      return problem === undefined && value !== null;
    });
    if (options.length > 0) this.#changed.set(stream, { listed: known, options: Object.fromEntries(options) });
  }

  async #keep(): Promise<boolean> {
    const { file, log } = this.#options;
    try {
      await file.write({ v: version, streams: Object.fromEntries(this.#changed) });
      return true;
    } catch (error) {
      log.warn({ reason: messageOf(error) }, 'what stream/set changed will not outlive the daemon');
      return false;
    }
  }
}
