/** A card for each camera and microphone: the last picture, what was last said about it, and what became of its input. */
import { byId, el, setText } from './dom.mjs';
import { duration, timeOf } from './format.mjs';

/** @typedef {import('../../types.js').StreamView} StreamView */
/** @typedef {import('../../types.js').EventView} EventView */

const list = byId('streams', HTMLUListElement);
const empty = byId('no-streams', HTMLElement);
/** @type {(stream: string) => void} */
let onAsk = () => undefined;

class Card {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.pictureKey = '';
    this.picture = false;
    this.lastEvent = '';
    this.image = el('img', { alt: '' });
    this.kind = el('span', { class: 'tag' });
    this.said = el('p', { class: 'said' });
    this.when = el('p', { class: 'small muted' });
    this.counts = el('p', { class: 'small muted' });
    this.button = el('button', { type: 'button' }, 'Ask about it', el('span', { class: 'unseen' }, `: ${name}`));
    this.button.addEventListener('click', () => onAsk(name));
    this.image.hidden = true;
    this.button.hidden = true;
    this.image.addEventListener('error', () => {
      this.image.hidden = true;
    });
    const head = el('div', { class: 'row' }, el('h3', {}, name), el('span', { class: 'grow' }), this.kind);
    const body = el('div', { class: 'body' }, head, this.said, this.when, this.counts, this.button);
    this.element = el('li', { class: 'stream' }, this.image, body);
  }

  /** @param {StreamView} view */
  update({ kind, received, used, skipped, enabled, seen, picture }) {
    setText(this.kind, enabled ? (kind ?? 'stream') : 'off');
    const total = Object.values(skipped).reduce((sum, count) => sum + count, 0);
    const reasons = Object.entries(skipped).sort(([, a], [, b]) => b - a);
    setText(this.counts, `${received} received, ${used} used, ${total} skipped`);
    this.counts.title = reasons.map(([reason, count]) => `${reason} ${count}`).join(', ');
    this.button.hidden = !seen;
    this.picture = picture;
    this.showPicture();
  }

  /** @param {EventView} event */
  note(event) {
    this.lastEvent = event.id;
    delete this.said.dataset['writing'];
    setText(this.said, event.text ?? '');
    setText(this.when, `${timeOf(event.ts)}, after ${duration(event.latency_ms)}`);
    this.showPicture();
  }

  /** @param {string} text */
  write(text) {
    this.said.dataset['writing'] = '';
    setText(this.said, text);
  }

  /** A picture has changed when something new was said about it. */
  showPicture() {
    const key = this.picture ? this.lastEvent || 'first' : '';
    if (key === this.pictureKey) return;
    this.pictureKey = key;
    this.image.hidden = key === '';
    this.image.alt = `Last picture of ${this.name}`;
    if (key !== '') this.image.src = `ui/pictures/${encodeURIComponent(this.name)}?v=${encodeURIComponent(key)}`;
    else this.image.removeAttribute('src');
  }
}

/** @type {Map<string, Card>} */
const cards = new Map();

/** @param {string} name */
function cardOf(name) {
  const known = cards.get(name);
  if (known !== undefined) return known;
  const card = new Card(name);
  cards.set(name, card);
  const after = [...cards.keys()].sort();
  const next = after[after.indexOf(name) + 1];
  list.insertBefore(card.element, (next !== undefined && cards.get(next)?.element) || null);
  empty.hidden = true;
  return card;
}

/** @param {(stream: string) => void} handler */
export function onAskAbout(handler) {
  onAsk = handler;
}

/** @param {readonly StreamView[]} views */
export function showStreams(views) {
  for (const view of views) cardOf(view.name).update(view);
  empty.hidden = cards.size > 0;
}

/** @param {EventView} event */
export function noteOnStream(event) {
  // An answer may be about any name somebody makes up.
  const known = event.kind !== 'answer' || cards.has(event.stream);
  if (known && event.kind !== 'error' && event.text !== undefined) cardOf(event.stream).note(event);
}

/** @param {{ stream: string, text: string }} partial */
export function notePartial({ stream, text }) {
  cardOf(stream).write(text);
}
