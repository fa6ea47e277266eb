/** The plots of the last hour. */
import { Chart } from './chart.mjs';
import { byId } from './dom.mjs';
import { duration } from './format.mjs';

/** @typedef {import('../../types.js').Sample} Sample */

const maxSamples = 360;

/** @type {readonly (readonly [Chart, (sample: Sample) => number | null])[]} */
const charts = [
  [
    new Chart('Jobs in the queue', (value) => value.toFixed(0), { least: 4 }),
    ({ waiting, running }) => waiting + running,
  ],
  [new Chart('From capture to result', duration, { least: 1000, none: 'none' }), ({ latency_ms }) => latency_ms],
  [
    new Chart('Temperature and slice', (value) => `${value.toFixed(1)} °C`, {
      least: 90,
      none: 'no sensor',
      banded: true,
    }),
    ({ temperature_c }) => temperature_c,
  ],
  [
    new Chart('Speed', (value) => `${value.toFixed(1)} tokens/s`, { least: 5 }),
    ({ tokens_per_second }) => tokens_per_second || null,
  ],
];

byId('plots', HTMLElement).append(...charts.map(([chart]) => chart.element));

/** @type {Sample[]} */
let samples = [];

function draw() {
  for (const [chart, pick] of charts)
    chart.draw(samples.map((sample) => ({ ts: sample.ts, value: pick(sample), band: sample.slice })));
}

/** @param {readonly Sample[]} all */
export function showSamples(all) {
  samples = [...all];
  draw();
}

/** @param {Sample} sample */
export function addSample(sample) {
  if (sample.ts <= (samples.at(-1)?.ts ?? 0)) return;
  samples = [...samples, sample].slice(-maxSamples);
  draw();
}
