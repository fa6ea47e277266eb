/** A small plot: lines or bands over time in SVG, with its values in words and in a table. */
import { el, setText } from './dom.mjs';
import { shortTimeOf } from './format.mjs';

const width = 300;
const height = 80;
const tableRows = 12;
/** Of the time axis, seconds; before there is more, the line grows from the left. */
const shortest = 300;

/**
 * @typedef {object} Point
 * @property {number} ts
 * @property {number | null} value
 * @property {string} [band]
 */

/**
 * @param {string} name
 * @param {Record<string, string | number>} attributes
 * @param {...Node} children
 */
function svg(name, attributes, ...children) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  element.append(...children);
  return element;
}

export class Chart {
  /**
   * @param {string} title
   * @param {(value: number) => string} format
   * @param {{ least: number, none?: string, banded?: boolean }} options `least`: the axis goes at least so far up;
   *   `none`: what is said where there is no value.
   */
  constructor(title, format, { least, none = 'none yet', banded = false }) {
    this.title = title;
    this.format = format;
    this.least = least;
    this.none = none;
    this.now = el('span', { class: 'now' });
    this.plot = el('div');
    this.legend = el('div', { class: 'legend' });
    this.from = el('span');
    this.top = el('span');
    this.rows = el('tbody');
    const heads = ['Time', title, ...(banded ? ['Slice'] : [])].map((head) => el('th', { scope: 'col' }, head));
    const table = el('table', {}, el('thead', {}, el('tr', {}, ...heads)), this.rows);
    this.banded = banded;
    this.element = el(
      'figure',
      { class: 'plot card' },
      el('figcaption', {}, el('span', {}, title), this.now),
      el('div', { class: 'axis' }, this.top),
      this.plot,
      el('div', { class: 'axis' }, this.from, el('span', {}, 'now')),
      this.legend,
      el('details', {}, el('summary', {}, 'As a table', el('span', { class: 'unseen' }, `: ${title}`)), table),
    );
  }

  /** @param {readonly Point[]} points */
  draw(points) {
    const end = points.at(-1)?.ts ?? 0;
    const start = Math.min(points[0]?.ts ?? 0, end - shortest);
    const x = (/** @type {number} */ ts) => (width * (ts - start)) / (end - start);
    const known = points.filter((point) => point.value !== null);
    const most = Math.max(this.least, ...known.map(({ value }) => value ?? 0));
    const y = (/** @type {number | null} */ value) => height - 2 - ((height - 6) * (value ?? 0)) / most;
    const last = known.at(-1)?.value;
    const shown = last === undefined || last === null ? this.none : this.format(last);
    setText(this.now, shown);
    setText(this.top, known.length === 0 ? '' : this.format(most));
    setText(this.from, shortTimeOf(start));
    const line = known.map(({ ts, value }, index) => `${index === 0 ? 'M' : 'L'}${x(ts)} ${y(value)}`).join('');
    const first = x(known[0]?.ts ?? end);
    const area = `${line}L${x(known.at(-1)?.ts ?? end)} ${height}L${first} ${height}Z`;
    const dots = known.map(({ ts, value }) => `M${x(ts)} ${y(value)}h0.01`).join('');
    const fixed = { 'vector-effect': 'non-scaling-stroke' };
    const words = `${this.title}: ${shown}${known.length === 0 ? '' : `, at most ${this.format(Math.max(...known.map(({ value }) => value ?? 0)))} since ${shortTimeOf(start)}`}`;
    this.plot.replaceChildren(
      svg(
        'svg',
        {
          class: 'lines',
          viewBox: `0 0 ${width} ${height}`,
          preserveAspectRatio: 'none',
          role: 'img',
          'aria-label': words,
        },
        svg('path', { class: 'frame', d: `M0 ${height - 1}H${width}M0 4H${width}`, ...fixed }),
        ...(known.length > 1 ? [svg('path', { class: 'area', d: area })] : []),
        svg('path', { class: 'line', d: line, ...fixed }),
        svg('path', {
          class: 'dots',
          d: known.length < 20 && (known.length < 2 || known.length * 2 < points.length) ? dots : '',
          ...fixed,
        }),
      ),
      ...(this.banded ? [this.bands(points, x)] : []),
    );
    this.table(points);
  }

  /**
   * @param {readonly Point[]} points
   * @param {(ts: number) => number} x
   */
  bands(points, x) {
    const names = [...new Set(points.map(({ band }) => band ?? ''))];
    const changes = points.filter(({ band }, index) => index === 0 || band !== points[index - 1]?.band);
    const parts = changes.map(({ ts, band }, index) => {
      const from = x(ts);
      const to = x(changes[index + 1]?.ts ?? points.at(-1)?.ts ?? ts);
      return svg('rect', {
        class: `band-${names.indexOf(band ?? '') % 4}`,
        x: from,
        y: 0,
        width: Math.max(to - from, 1),
        height: 10,
      });
    });
    this.legend.replaceChildren(
      ...names.map((name, index) => {
        const key = svg('svg', { width: 10, height: 10, 'aria-hidden': 'true', class: 'key' });
        key.append(svg('rect', { width: 10, height: 10, class: `band-${index % 4}` }));
        return el('span', {}, key, ` ${name}`);
      }),
    );
    const words = `Slice: ${names.join(', ')}`;
    return svg(
      'svg',
      {
        class: 'bands',
        viewBox: `0 0 ${width} 10`,
        preserveAspectRatio: 'none',
        role: 'img',
        'aria-label': words,
      },
      ...parts,
    );
  }

  /** @param {readonly Point[]} points */
  table(points) {
    const step = Math.max(1, Math.ceil(points.length / tableRows));
    const chosen = points.filter((_, index) => (points.length - 1 - index) % step === 0);
    this.rows.replaceChildren(
      ...chosen.map(({ ts, value, band }) =>
        el(
          'tr',
          {},
          el('th', { scope: 'row' }, shortTimeOf(ts)),
          el('td', {}, value === null ? this.none : this.format(value)),
          ...(this.banded ? [el('td', {}, band ?? '')] : []),
        ),
      ),
    );
  }
}
