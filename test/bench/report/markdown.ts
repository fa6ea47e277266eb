/** The report a reader sees. */
import { isIdle } from './machine';
import type {
  Facts,
  Figure,
  Machine,
  ModelResult,
  Parity,
  PeerTrial,
  Side,
  TargetResult,
  TextResult,
  Unit,
} from './result';

const enough = 5;

/** Three digits that count. */
export function shown(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return digits > 6 ? value.toExponential(1) : value.toFixed(digits);
}

export function inUnit(value: number, unit: Unit): string {
  if (unit === 'bytes') return `${shown(value / 1e9)} GB`;
  return `${shown(value)} ${unit}`;
}

/** The median, and what the others were between. */
export function sample({ summary }: Side, unit: Unit): string {
  const { median, min, max, runs } = summary;
  const scale = unit === 'bytes' ? 1e9 : 1;
  return runs > 1 ? `${inUnit(median, unit)} (${shown(min / scale)}–${shown(max / scale)})` : inUnit(median, unit);
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

/** Without the version: settings and kernels. */
function settings(facts: Facts): string {
  return Object.entries(facts)
    .flatMap(([key, value]) => (key === 'version' ? [] : [`${key} ${value}`]))
    .join(', ');
}

export function targetTable(targets: readonly TargetResult[]): string[] {
  const value = (number: number | string | undefined, unit: string): string =>
    number === undefined
      ? '–'
      : typeof number === 'string'
        ? number
        : `${shown(number)}${unit === 'x' ? 'x' : unit && ` ${unit}`}`;
  return table(
    ['target', 'measured', 'must', 'aim', ''],
    targets.map(({ what, measured, must, aim, unit, verdict }) => [
      what,
      value(measured, unit),
      value(must, unit),
      value(aim, unit),
      verdict === 'missed' ? '**missed**' : verdict,
    ]),
  );
}

function figureTables(figures: readonly Figure[]): string[] {
  const ratio = (figure: Figure): string => (figure.ratio === undefined ? '' : `${shown(figure.ratio)}x`);
  const againstPeer = figures.filter(({ sides }) => sides[0]?.name === 'hearth');
  const own = figures.filter((figure) => !againstPeer.includes(figure));
  const lines: string[] = [];
  if (againstPeer.length > 0) {
    const rows = againstPeer.map((figure) => [
      figure.label,
      ...[0, 1].map((i) => (figure.sides[i] === undefined ? '' : sample(figure.sides[i], figure.unit))),
      ratio(figure),
    ]);
    lines.push(...table(['', 'hearth', 'llama.cpp', 'better by'], rows), '');
  }
  if (own.length > 0) {
    const rows = own.map((figure) => [
      figure.label,
      figure.sides.map((side) => `${side.name}: ${sample(side, figure.unit)}`).join('; '),
      ratio(figure),
    ]);
    lines.push(...table(['by itself', 'medians', 'ratio'], rows), '');
  }
  return lines;
}

function trialTable(trials: readonly PeerTrial[]): string[] {
  if (trials.length === 0) return [];
  return [
    '',
    'llama.cpp was tried with these settings (prefill 1024, decode 16); the first are those in force:',
    '',
    ...table(
      ['flash attention', 'batch and micro-batch', 'mmap', 'prefill', 'decode', 'load', 'peak RSS'],
      trials.map(({ flashAttention, batch, mmap, prefill, decode, loadMs, peakRssBytes }) => [
        flashAttention ? 'on' : 'off',
        String(batch),
        mmap ? 'on' : 'off',
        inUnit(prefill, 'tokens/s'),
        inUnit(decode, 'tokens/s'),
        inUnit(loadMs, 'ms'),
        inUnit(peakRssBytes, 'bytes'),
      ]),
    ),
  ];
}

function modelPart(model: ModelResult): string[] {
  const { dense, sparse, screened, hearth, share } = model.decodeBytes;
  const gb = (bytes: number): string => `${shown(bytes / 1e9)} GB`;
  const used = share === undefined ? '' : `; it uses ${shown(share)} of the read bandwidth at decode`;
  const { sameChoice } = model;
  return [
    `## ${model.model.toUpperCase()}, ${gb(model.file.bytes)}`,
    '',
    `- hearth: ${settings(model.hearth)}`,
    ...(model.peer === undefined ? [] : [`- llama.cpp: ${settings(model.peer)}`]),
    '',
    ...figureTables(model.figures),
    `Weights a decoded token reads: ${gb(dense)} dense, ${gb(sparse)} with sparse FFNs, ${gb(screened)} with a screened head, too; hearth here: ${hearth}${used}.`,
    ...(sameChoice === undefined
      ? []
      : [`Given the same ids, both engines chose the same token ${sameChoice.equal} times of ${sameChoice.of}.`]),
    ...trialTable(model.peerTrials),
    '',
  ];
}

function parityPart({ isa, logits, answers }: Parity): string[] {
  return [
    `## Parity, ${isa}`,
    '',
    ...table(
      ['', 'against', 'positions', 'max logit difference', 'mean KL', 'same top token'],
      logits.map(({ what, against, positions, maxLogitDifference, meanKl, top1Equal }) => [
        what,
        against,
        String(positions),
        shown(maxLogitDifference),
        shown(meanKl),
        `${top1Equal} of ${positions}`,
      ]),
    ),
    '',
    ...(answers.length === 0
      ? []
      : [
          ...table(
            ['', 'against', 'same answer'],
            answers.map(({ what, against, equal, of }) => [what, against, `${equal} of ${of}`]),
          ),
          '',
        ]),
  ];
}

export function textMarkdown(result: TextResult): string {
  const { machine, warnings } = result;
  const [model] = result.models;
  const peer = model?.peer;
  const lines = [
    '# hearth: text benchmark',
    '',
    `- ${result.date}, commit ${result.commit}`,
    `- ${machine.cpu}, ${machine.cores} cores, ${shown(machine.memoryBytes / 1e9)} GB, Linux ${machine.kernel}, Node ${machine.node}`,
    ...(model === undefined
      ? []
      : [`- hearth ${[model.hearth, ...(peer ? [peer] : [])].map((facts) => facts['version']).join(' against ')}`]),
    ...(result.models.length === 0
      ? []
      : [
          '- Random weights in the released shapes, Q4_0 with a Q8_0 head; medians, with the least and the most.',
          ...(peer === undefined
            ? []
            : ['- Both engines were fed the same ids, each in its own process, and took turns.']),
        ]),
    ...warnings.map((warning) => `- **${warning}**`),
    '',
    ...(result.targets.length === 0 ? [] : ['## Targets', '', ...targetTable(result.targets), '']),
    ...result.models.flatMap(modelPart),
    ...(result.parity === undefined ? [] : parityPart(result.parity)),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}

/** What keeps the figures from counting. */
export function warningsOf(runs: number, machine: Machine, commit: string): string[] {
  return [
    ...(runs < enough
      ? [
          `Only ${runs} ${runs === 1 ? 'run' : 'runs'} of each figure: at least ${enough} are needed for a median that counts.`,
        ]
      : []),
    ...(isIdle(machine) ? [] : [`The machine was not idle (load ${shown(machine.load)}).`]),
    ...(commit.endsWith('with changes') ? ['The sources differ from the commit.'] : []),
  ];
}
