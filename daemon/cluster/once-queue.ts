/**
 * What a node says, in order and a few messages at a time: a broker may hang up on a client that has more on its way than
 * it takes. Whatever had to wait is looked at again before it is written.
 */
import type { OnceMessage } from '../bus/bus';
import { HearthError } from '../errors';

export interface Saying {
  /** Written together. */
  readonly messages: readonly OnceMessage[];
  /** Whether it may still be said, asked in the turn it is written in. */
  readonly may: () => boolean;
  /** It was not said, or nobody knows whether it was. */
  readonly failed: (error: unknown) => void;
}

export interface OnceQueueOptions {
  /** Messages that the broker has not acknowledged at most. */
  readonly maxInFlight: number;
  readonly maxWaiting: number;
  readonly publish: (messages: readonly OnceMessage[]) => Promise<void>;
}

export class OnceQueue {
  readonly #options: OnceQueueOptions;
  readonly #waiting: Saying[] = [];
  #inFlight = 0;

  constructor(options: OnceQueueOptions) {
    this.#options = options;
  }

  push(saying: Saying): void {
    if (this.#waiting.length >= this.#options.maxWaiting) {
      saying.failed(
        new HearthError('BUS_OUTBOX_FULL', 'cluster: the broker takes messages more slowly than they come'),
      );
      return;
    }
    this.#waiting.push(saying);
    this.#pump();
  }

  /** The connection is gone: nothing that waits is said on the next one. */
  clear(): void {
    for (const { failed } of this.#waiting.splice(0)) {
      failed(new HearthError('BUS_OFFLINE', 'cluster: the connection was lost before it could be said'));
    }
  }

  #pump(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      if (next.may()) void this.#say(next);
      else next.failed(new HearthError('BUS_EXPIRED', 'cluster: it waited for the broker longer than the lease lasts'));
    }
  }

  #fits({ messages }: Saying): boolean {
    return this.#inFlight === 0 || this.#inFlight + messages.length <= this.#options.maxInFlight;
  }

  async #say({ messages, failed }: Saying): Promise<void> {
    this.#inFlight += messages.length;
    try {
      await this.#options.publish(messages);
    } catch (error) {
      failed(error);
    } finally {
      this.#inFlight -= messages.length;
      this.#pump();
    }
  }
}
