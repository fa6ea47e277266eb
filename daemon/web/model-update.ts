/** How far the download of a model is; the first keys are those of Home Assistant's update entity. */
import type { Observable } from 'rxjs';

export interface ModelUpdateState {
  readonly installed_version: string | null;
  readonly latest_version: string | null;
  readonly title: string;
  readonly in_progress: boolean;
  /** 0 to 100; null while there is no download. */
  readonly update_percentage: number | null;
  readonly phase: 'idle' | 'downloading' | 'verifying' | 'loading';
  readonly received_bytes: number;
  /** Null where it is not known yet. */
  readonly total_bytes: number | null;
  /** What ended the last attempt; null after one that went well. */
  readonly error: { readonly code: string; readonly message: string } | null;
}

export interface ModelUpdateView {
  /** Replays the current state to a new subscriber. */
  readonly change$: Observable<ModelUpdateState>;
}
