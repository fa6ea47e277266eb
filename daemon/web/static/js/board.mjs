/** The model, its way into memory and onto the disk, and how the board is. */
import { byId, el, setText } from './dom.mjs';
import { parameters, size, uptime } from './format.mjs';

/** @typedef {import('../../types.js').EngineView} EngineView */
/** @typedef {import('../../types.js').StatusView} StatusView */
/** @typedef {import('../../types.js').UpdateView} UpdateView */
/** @typedef {import('../../types.js').Sample} Sample */

const facts = byId('facts', HTMLDListElement);
/** @type {Map<string, HTMLElement>} */
const values = new Map();

/**
 * @param {string} name
 * @param {string} value
 */
function fact(name, value) {
  let shown = values.get(name);
  if (shown === undefined) {
    shown = el('dd');
    values.set(name, shown);
    facts.append(el('dt', {}, name), shown);
  }
  setText(shown, value);
}

/**
 * @param {string} id
 * @param {string | undefined} text Nothing goes on when left out.
 * @param {number | null} [percent] Unknown when left out.
 */
function progress(id, text, percent) {
  byId(id, HTMLElement).hidden = text === undefined;
  setText(byId(`${id}-text`, HTMLElement), text ?? '');
  const bar = byId(`${id}-bar`, HTMLProgressElement);
  if (percent === null || percent === undefined) bar.removeAttribute('value');
  else bar.value = percent;
}

/** @param {EngineView} view */
export function showEngine({ phase, loaded, reason, model }) {
  const name = byId('model-name', HTMLElement);
  if (model !== null) setText(name, `${model.name}, ${parameters(model.parameters)} parameters`);
  else setText(name, reason === null ? '' : `${phase}: ${reason}`);
  const percent = loaded === null ? null : Math.floor(loaded * 100);
  progress('loading', phase === 'loading' ? `The model is being loaded: ${percent} %` : undefined, percent);
}

/** @param {UpdateView} view */
function updateText({ phase, title, latest_version, update_percentage, received_bytes, total_bytes }) {
  const what = latest_version === null ? title : `${title} ${latest_version}`;
  if (phase === 'verifying') return `${what} is being checked`;
  if (phase === 'loading') return `${what} is being loaded`;
  const bytes = total_bytes === null ? size(received_bytes) : `${size(received_bytes)} of ${size(total_bytes)}`;
  return `${what} is being downloaded: ${bytes}${update_percentage === null ? '' : `, ${update_percentage} %`}`;
}

/** @param {UpdateView | null} view */
export function showUpdate(view) {
  const goesOn = view?.in_progress === true;
  progress(
    'update',
    goesOn ? updateText(view) : undefined,
    view?.phase === 'downloading' ? view.update_percentage : null,
  );
  const { error = null, title = '' } = view ?? {};
  const failed = error !== null && !goesOn;
  setText(
    byId('update-problem', HTMLElement),
    failed ? `${title} could not be had. ${error.code}: ${error.message}` : '',
  );
}

/** @param {StatusView} status */
export function showStatus({
  broker,
  uptime_s,
  memory_bytes,
  queue,
  slice,
  image_size,
  governor,
  temperature_c,
  throttled,
}) {
  fact('Queue', `${queue.depth} waiting, ${queue.running} running`);
  fact('Slice', image_size === null ? slice : `${slice}, pictures ${image_size} px`);
  fact('Temperature', temperature_c === null ? 'no sensor' : `${temperature_c.toFixed(1)} °C`);
  if (throttled.length > 0) fact('Slowed down', throttled.join(', '));
  else if (values.has('Slowed down')) fact('Slowed down', 'no');
  fact('Memory', size(memory_bytes));
  fact('Broker', broker);
  fact('Up for', uptime(uptime_s));
  setText(byId('why', HTMLElement), `Governor: ${governor.why}.`);
}

/** @param {Sample} sample */
export function showSpeed({ tokens_per_second }) {
  fact('Speed', tokens_per_second === 0 ? 'nothing decoded yet' : `${tokens_per_second.toFixed(1)} tokens/s`);
}
