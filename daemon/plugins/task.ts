/** One thing a plugin has in hand: an item of a stream or a request, with the media that go with it. */
import { HearthError } from '../errors';
import type { StreamItem } from '../streams/dispatcher';
import type { RequestItem } from './api';
import type { StreamPolicy } from './ports';
import type { MediaPart } from './protocol';

export interface Task {
  readonly id: string;
  readonly media: ReadonlyMap<string, MediaPart>;
  readonly priority: number;
  /** Unix time in milliseconds. */
  readonly deadlineAt: number;
  readonly stream?: { readonly item: StreamItem; readonly policy: StreamPolicy; readonly emitted: Set<string> };
}

export function itemTask(item: StreamItem, media: MediaPart, policy: StreamPolicy): Task {
  return {
    id: item.id,
    media: new Map([[item.media.ref, media]]),
    priority: policy.priority,
    deadlineAt: item.capturedTs * 1000 + policy.deadlineMs,
    stream: { item, policy, emitted: new Set() },
  };
}

export function requestTask(
  { id, image, audio }: RequestItem,
  parts: { readonly image?: MediaPart; readonly audio?: MediaPart },
  priority: number,
  deadlineAt: number,
): Task {
  const media = new Map<string, MediaPart>();
  if (image !== undefined && parts.image !== undefined) media.set(image.ref, parts.image);
  if (audio !== undefined && parts.audio !== undefined) media.set(audio.ref, parts.audio);
  return { id, media, priority, deadlineAt };
}

/** Items that events may still be about after their handlers have ended. */
const maxEnded = 64;

/** What a plugin has in hand right now. */
export class Tasks {
  readonly #tasks = new Set<Task>();
  /** Without their media. */
  readonly #ended = new Map<string, Task>();

  get size(): number {
    return this.#tasks.size;
  }

  add(task: Task): () => void {
    this.#tasks.add(task);
    return () => {
      this.#tasks.delete(task);
      if (task.stream === undefined) return;
      this.#ended.set(task.id, { ...task, media: new Map() });
      const [oldest] = this.#ended.keys();
      if (this.#ended.size > maxEnded && oldest !== undefined) this.#ended.delete(oldest);
    };
  }

  find(id: string): Task | undefined {
    for (const task of this.#tasks) if (task.id === id) return task;
    return undefined;
  }

  /** One of the last items whose handler has ended. */
  findEnded(id: string): Task | undefined {
    return this.#ended.get(id);
  }

  /** Throws `MEDIA_GONE` for media of nothing in hand. */
  media(ref: string): MediaPart {
    for (const { media } of this.#tasks) {
      const part = media.get(ref);
      if (part !== undefined) return part;
    }
    throw new HearthError(
      'MEDIA_GONE',
      `media: expected that of an item or a request in hand, received ${JSON.stringify(String(ref).slice(0, 40))}`,
    );
  }
}
