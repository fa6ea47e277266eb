/** Two ports that are connected, in one thread: what goes in at one comes out at the other, as a copy and a turn later. */
import { EventEmitter } from 'node:events';
import type { Port } from '../plugins/rpc';

export function portPair(): readonly [Port, Port] {
  const left = new EventEmitter();
  const right = new EventEmitter();
  const port = (own: EventEmitter, other: EventEmitter): Port => ({
    postMessage: (value, transfer = []) => {
      const copy: unknown = structuredClone(value, { transfer: [...transfer] as ArrayBuffer[] });
      // A promise, not a timer: a test may have stopped the clock.
      void Promise.resolve().then(() => other.emit('message', copy));
    },
    on: (event, listener) => own.on(event, listener),
  });
  return [port(left, right), port(right, left)];
}
