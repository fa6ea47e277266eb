/** Everything that happened, newest first; it can be filtered, and held while it is read. */
import { announce } from './announce.mjs';
import { byId, el, setText } from './dom.mjs';
import { duration, timeOf } from './format.mjs';

/** @typedef {import('../../types.js').EventView} EventView */

const maxRows = 100;
const list = byId('timeline', HTMLOListElement);
const empty = byId('no-events', HTMLElement);
const filter = byId('filter', HTMLSelectElement);
const pause = byId('pause', HTMLButtonElement);
const aloud = byId('announce', HTMLInputElement);
const announceKey = 'hearth-announce';

/** @type {EventView[]} Newest first. */
let events = [];
/** Newest event that is shown while the list is held. */
let held = 0;
let paused = false;

/** @param {EventView} event */
function textOf({ kind, text, call, error }) {
  if (kind === 'error') return error === undefined ? 'failed' : `${error.code}: ${error.message}`;
  if (kind === 'call')
    return call ? `${call.name}(${JSON.stringify(call.arguments)})` : `${text ?? ''} (no call)`.trim();
  return text ?? '';
}

/** @type {Record<string, string>} */
const tones = { call: 'ember', error: 'bad', answer: 'good' };

/** @param {EventView} event */
function rowOf(event) {
  const { ts, stream, kind, lang, latency_ms } = event;
  const tag = el('span', { class: 'tag', 'data-tone': tones[kind] ?? '' }, lang ? `${kind}, ${lang}` : kind);
  const said = el('p', lang ? { lang } : {}, textOf(event));
  const meta = el('p', { class: 'meta' }, stream, ' ', tag, ` ${duration(latency_ms)}`);
  const time = el('time', { datetime: new Date(ts * 1000).toISOString() }, timeOf(ts));
  return el('li', {}, time, el('div', {}, said, meta));
}

/** @param {EventView} event */
const isWanted = ({ kind }) => filter.value === '' || filter.value === kind;

function render() {
  const shown = events.slice(held).filter(isWanted);
  list.replaceChildren(...shown.map(rowOf));
  empty.hidden = shown.length > 0;
}

function renderPause() {
  pause.setAttribute('aria-pressed', String(paused));
  setText(pause, paused && held > 0 ? `Paused, ${held} new` : paused ? 'Paused' : 'Pause');
}

// So that it can be scrolled with the keyboard.
list.tabIndex = 0;
filter.addEventListener('change', render);
pause.addEventListener('click', () => {
  paused = !paused;
  held = 0;
  if (!paused) render();
  renderPause();
});
aloud.checked = localStorage.getItem(announceKey) !== 'off';
aloud.addEventListener('change', () => localStorage.setItem(announceKey, aloud.checked ? 'on' : 'off'));

/** @param {readonly EventView[]} all Oldest first. */
export function showTimeline(all) {
  events = all.slice(-maxRows).reverse();
  held = 0;
  render();
  renderPause();
}

/** @param {EventView} event */
export function noteOnTimeline(event) {
  events = [event, ...events].slice(0, maxRows);
  if (aloud.checked && !document.hidden) announce(`${event.stream}: ${textOf(event)}`);
  if (paused) {
    held = Math.min(held + 1, events.length);
    renderPause();
    return;
  }
  if (!isWanted(event)) return;
  const row = rowOf(event);
  row.classList.add('new');
  list.prepend(row);
  while (list.children.length > maxRows) list.lastElementChild?.remove();
  empty.hidden = true;
}
