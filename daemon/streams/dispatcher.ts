/**
 * Connects the frames and segments of all streams to their consumers. Per stream and consumer one item is in hand; a
 * camera keeps the newest waiting frame, a microphone a few waiting segments. An item counts as used when at least one
 * consumer took it up; when all have let go of it without that, it is skipped, once, with the reason of the last. One
 * whose speaker was interrupted is told of as well when another consumer has used it: what is missing has to be explained.
 */
import { filter, firstValueFrom, map, Subject, startWith } from 'rxjs';
import { HearthError } from '../errors';
import type { SkipReason } from '../events';
import type { ClipItem, FrameItem, SegmentItem } from '../plugins/api';
import type { DecodedMedia, MediaStore } from './media-store';
import { type Skips, skipReasonOf } from './skips';

export type StreamItem = FrameItem | SegmentItem | ClipItem;
export type ItemKind = StreamItem['kind'];

export interface Consumer {
  readonly name: string;
  readonly consumes: readonly ItemKind[];
  /** Whether it takes this stream. */
  streams(stream: string): boolean;
  /**
   * Resolves or rejects when it is done with the item; `media` is held until then. A rejection with a code that means
   * "not used" (`QUEUE_FULL`, `QUEUE_EVICTED`, `JOB_DEADLINE`, `SHUTDOWN`) makes the item a skipped one; the `error`
   * event for any other is the consumer's own affair.
   */
  handle(item: StreamItem, media: DecodedMedia): Promise<void>;
}

export interface DispatcherOptions {
  readonly store: MediaStore;
  readonly skips: Skips;
  /** Segments that may wait per microphone and consumer. */
  readonly maxWaitingSegments: number;
}

export interface OfferOptions {
  /** Called once, when the first consumer takes the item up. */
  readonly onUsed?: () => void;
}

/** An item on its way through its consumers. */
interface Tracked {
  readonly item: StreamItem;
  readonly media: DecodedMedia;
  readonly onUsed: (() => void) | undefined;
  /** Consumers that have not let go of it. */
  pending: number;
  started: boolean;
  used: boolean;
  /** The error of a consumer that someone's speech interrupted. */
  bargeIn?: unknown;
}

interface Lane {
  readonly consumer: Consumer;
  busy: boolean;
  waiting: Tracked[];
}

export class Dispatcher {
  readonly #store: MediaStore;
  readonly #skips: Skips;
  readonly #maxWaitingSegments: number;
  /** Consumer -> `kind/stream` -> lane. */
  readonly #consumers = new Map<Consumer, Map<string, Lane>>();
  readonly #change$ = new Subject<void>();
  readonly #used = new Map<string, number>();
  #stopped = false;

  constructor({ store, skips, maxWaitingSegments }: DispatcherOptions) {
    this.#store = store;
    this.#skips = skips;
    this.#maxWaitingSegments = maxWaitingSegments;
  }

  /** Returns what ends it: waiting items are then skipped as `no-consumer`, the one in hand is awaited. */
  register(consumer: Consumer): () => void {
    if (this.#stopped)
      throw new HearthError('SHUTDOWN', `dispatcher: ${consumer.name} came while the daemon is stopping`);
    this.#consumers.set(consumer, new Map());
    return () => {
      const lanes = this.#consumers.get(consumer);
      this.#consumers.delete(consumer);
      for (const lane of lanes?.values() ?? []) this.#empty(lane, 'no-consumer');
      this.#change$.next();
    };
  }

  /** Whether anyone would take an item of this kind from this stream. */
  wants(kind: ItemKind, stream: string): boolean {
    return this.#takers(kind, stream).length > 0;
  }

  /** Resolves when some consumer of the stream has nothing in hand, when there is none, or on `stop`. */
  async whenIdle(kind: ItemKind, stream: string): Promise<void> {
    const idle = (): boolean => {
      const takers = this.#takers(kind, stream);
      return this.#stopped || takers.length === 0 || takers.some((taker) => !this.#lane(taker, kind, stream).busy);
    };
    await firstValueFrom(this.#change$.pipe(startWith(undefined), map(idle), filter(Boolean)));
  }

  /** Takes over the caller's hold on `item.media.ref`. Never throws; an item nobody takes is skipped. */
  offer(item: StreamItem, { onUsed }: OfferOptions = {}): void {
    const takers = this.#stopped ? [] : this.#takers(item.kind, item.stream);
    const tracked: Tracked = {
      item,
      media: this.#store.get(item.media.ref),
      onUsed,
      pending: Math.max(1, takers.length),
      started: false,
      used: false,
    };
    if (takers.length === 0) this.#letGo(tracked, this.#stopped ? 'shutdown' : 'no-consumer');
    for (const taker of takers) this.#enqueue(this.#lane(taker, item.kind, item.stream), tracked);
  }

  /** Items used so far by stream. */
  used(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#used);
  }

  /** Waiting items are skipped as `shutdown`, and so is everything offered later; items in hand run on. */
  stop(): void {
    this.#stopped = true;
    for (const lanes of this.#consumers.values()) for (const lane of lanes.values()) this.#empty(lane, 'shutdown');
    this.#change$.next();
  }

  #takers(kind: ItemKind, stream: string): Consumer[] {
    return Array.from(this.#consumers.keys()).filter(
      (consumer) => consumer.consumes.includes(kind) && consumer.streams(stream),
    );
  }

  #lane(consumer: Consumer, kind: ItemKind, stream: string): Lane {
    const lanes = this.#consumers.get(consumer) ?? new Map<string, Lane>();
    const key = `${kind}/${stream}`;
    const lane = lanes.get(key) ?? { consumer, busy: false, waiting: [] };
    lanes.set(key, lane);
    return lane;
  }

  #enqueue(lane: Lane, tracked: Tracked): void {
    if (!lane.busy) {
      void this.#run(lane, tracked);
      return;
    }
    if (tracked.item.kind === 'frame') {
      this.#empty(lane, 'superseded');
      lane.waiting.push(tracked);
    } else if (lane.waiting.length < this.#maxWaitingSegments) {
      lane.waiting.push(tracked);
    } else {
      this.#letGo(tracked, 'queue-full');
    }
  }

  async #run(lane: Lane, tracked: Tracked): Promise<void> {
    lane.busy = true;
    if (!tracked.started) {
      tracked.started = true;
      tracked.onUsed?.();
    }
    let reason: SkipReason | undefined;
    let cause: unknown;
    try {
      await lane.consumer.handle(tracked.item, tracked.media);
    } catch (error) {
      reason = skipReasonOf(error);
      cause = error;
    }
    this.#letGo(tracked, reason, cause);
    lane.busy = false;
    const next = lane.waiting.shift();
    if (next !== undefined) void this.#run(lane, next);
    else this.#change$.next();
  }

  #empty(lane: Lane, reason: SkipReason): void {
    for (const tracked of lane.waiting.splice(0)) this.#letGo(tracked, reason);
  }

  /** One consumer is done with it: it used it, or did not for `reason`. */
  #letGo(tracked: Tracked, reason: SkipReason | undefined, cause?: unknown): void {
    const { item } = tracked;
    if (reason === undefined) tracked.used = true;
    if (reason === 'barge-in') tracked.bargeIn = cause;
    tracked.pending--;
    if (tracked.pending > 0) return;
    this.#store.release(item.media.ref);
    const count = item.kind === 'clip' ? item.frames : 1;
    if (tracked.used) this.#used.set(item.stream, (this.#used.get(item.stream) ?? 0) + count);
    const why = tracked.bargeIn !== undefined ? 'barge-in' : tracked.used ? undefined : reason;
    const error = tracked.bargeIn ?? cause;
    if (why !== undefined) {
      const { stream, capturedTs, topic, sha256 } = item;
      this.#skips.skip({
        stream,
        reason: why,
        capturedTs,
        topic,
        sha256,
        count,
        ...(error instanceof HearthError && { error }),
      });
    }
  }
}
