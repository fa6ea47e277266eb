/** What screen readers are told: the latest of what happened, a sentence every few seconds at most. */
import { byId, setText } from './dom.mjs';

const intervalMs = 6000;
const region = byId('announcer', HTMLElement);
let last = Number.NEGATIVE_INFINITY;
let waiting = '';

/** @param {string} sentence */
export function announce(sentence) {
  const scheduled = waiting !== '';
  waiting = sentence;
  if (scheduled) return;
  const say = () => {
    last = performance.now();
    setText(region, waiting);
    waiting = '';
  };
  setTimeout(say, Math.max(0, last + intervalMs - performance.now()));
}
