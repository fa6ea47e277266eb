import type { StreamEvent } from '../../../daemon/events';
import type { Consumer, StreamItem } from '../../../daemon/streams/dispatcher';
import { Dispatcher } from '../../../daemon/streams/dispatcher';
import type { DecodedMedia } from '../../../daemon/streams/media-store';
import { MediaStore } from '../../../daemon/streams/media-store';
import { Skips } from '../../../daemon/streams/skips';

export { codeOf, fixture, makeWav, mutate, seeded } from '../media/support';

export interface Handled {
  readonly item: StreamItem;
  readonly media: DecodedMedia;
  /** Ends the handler: with an error it rejects. */
  finish(error?: unknown): void;
}

/** A consumer whose handlers end when the test says so. */
export class HandDriven implements Consumer {
  readonly handled: Handled[] = [];
  constructor(
    readonly name = 'hand-driven',
    readonly consumes: Consumer['consumes'] = ['frame', 'segment'],
    readonly only?: string,
  ) {}

  streams(stream: string): boolean {
    return this.only === undefined || this.only === stream;
  }

  handle(item: StreamItem, media: DecodedMedia): Promise<void> {
    return new Promise((resolve, reject) => {
      this.handled.push({ item, media, finish: (error) => (error === undefined ? resolve() : reject(error)) });
    });
  }
}

/** Lets everything that is ready run: promises, and native work that ends within a few turns. */
export async function settle(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits for a condition; fails after 10 s. */
export async function until(condition: () => boolean): Promise<void> {
  const end = Date.now() + 10_000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`never became true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

export function makeParts(options: { maxBytes?: number; maxWaitingSegments?: number } = {}) {
  const store = new MediaStore({ maxBytes: options.maxBytes ?? 64 * 2 ** 20 });
  const skips = new Skips({ node: 'test' });
  cleanups.push(() => skips.stop());
  const events: StreamEvent[] = [];
  skips.event$.subscribe((event) => events.push(event));
  const dispatcher = new Dispatcher({ store, skips, maxWaitingSegments: options.maxWaitingSegments ?? 2 });
  return { store, skips, events, dispatcher };
}
