/** The plugins: what each is doing, how often it had to be started again and why, and a button that does so. */
import { announce } from './announce.mjs';
import { post } from './api.mjs';
import { byId, el, setText } from './dom.mjs';

/** @typedef {import('../../types.js').PluginView} PluginView */

const list = byId('plugins', HTMLUListElement);
/** @type {Record<string, string>} */
const tones = { running: 'good', starting: 'wait', restarting: 'wait', quarantined: 'bad', stopped: 'bad' };
/** @type {Map<string, Row>} */
const rows = new Map();

class Row {
  /** @param {string} name */
  constructor(name) {
    this.name = name;
    this.version = el('span', { class: 'small muted' });
    this.state = el('span', { class: 'tag' });
    this.restarts = el('span', { class: 'small muted' });
    this.reason = el('p', { class: 'small problem reason' });
    this.button = el('button', { type: 'button', 'aria-label': `Restart ${name}` }, 'Restart');
    this.button.addEventListener('click', () => void this.restart());
    const title = el('h3', { class: 'row' }, name, this.version);
    const state = el('div', { class: 'row' }, this.state, this.restarts);
    this.element = el('li', { 'data-plugin': name }, el('div', {}, title, state), this.button, this.reason);
  }

  /** @param {PluginView} view */
  update({ version, state, restarts, reason }) {
    setText(this.version, version ?? '');
    setText(this.state, state);
    this.state.dataset['tone'] = tones[state] ?? '';
    setText(this.restarts, restarts === 0 ? '' : restarts === 1 ? 'restarted once' : `restarted ${restarts} times`);
    setText(this.reason, reason ?? '');
  }

  async restart() {
    // Not `disabled`, which would take the focus away.
    if (this.button.getAttribute('aria-disabled') === 'true') return;
    this.button.setAttribute('aria-disabled', 'true');
    try {
      const response = await post(`ui/plugins/${encodeURIComponent(this.name)}/restart`, {});
      const view = await response.json();
      this.update(view);
      announce(`${this.name} was restarted and is ${view.state}`);
    } catch (error) {
      setText(this.reason, `Could not be restarted: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      this.button.removeAttribute('aria-disabled');
    }
  }
}

/** @param {PluginView} view */
export function showPlugin(view) {
  let row = rows.get(view.name);
  if (row === undefined) {
    row = new Row(view.name);
    rows.set(view.name, row);
    list.append(row.element);
  }
  row.update(view);
}
