/** The report of `bench encoders`. */
import { inUnit, sample, shown, table, targetTable } from '../report/markdown';
import type { EncoderRow, EncodersResult, Facts } from '../report/result';

function settings(facts: Facts): string {
  return Object.entries(facts)
    .map(([key, value]) => `${key} ${value}`)
    .join(', ');
}

function cells({ figure, cosine, realTimeFactor, peerMissing }: EncoderRow): string[] {
  const [hearth, peer] = figure.sides;
  return [
    figure.label,
    hearth === undefined ? '' : sample(hearth, figure.unit),
    peer === undefined ? (peerMissing === undefined ? '' : 'not measured') : sample(peer, figure.unit),
    figure.ratio === undefined ? '' : `${shown(figure.ratio)}x`,
    cosine === undefined ? '' : `${cosine.least.toFixed(5)} (mean ${cosine.mean.toFixed(5)})`,
    realTimeFactor === undefined ? '' : shown(realTimeFactor),
  ];
}

export function encodersMarkdown(result: EncodersResult): string {
  const { machine, rows, warnings, scratchBytes, targets } = result;
  const reasons = new Set(rows.flatMap(({ peerMissing }) => (peerMissing === undefined ? [] : [peerMissing])));
  const lines = [
    '# hearth: encoder benchmark',
    '',
    `- ${result.date}, commit ${result.commit}`,
    `- ${machine.cpu}, ${machine.cores} cores, ${shown(machine.memoryBytes / 1e9)} GB, Linux ${machine.kernel}, Node ${machine.node}`,
    `- hearth: ${settings(result.hearth)}`,
    ...(result.peer === undefined ? [] : [`- PyTorch, float32: ${settings(result.peer)}`]),
    ...[...reasons].map((reason) => `- PyTorch was not measured: ${reason}`),
    `- Random weights in the released shapes, Q8_0, ${shown(result.file.bytes / 1e9)} GB; medians, with the least and the most. hearth's time has resizing, the spectrogram and the embedder in it.`,
    ...warnings.map((warning) => `- **${warning}**`),
    '',
    ...(targets.length === 0 ? [] : ['## Targets', '', ...targetTable(targets), '']),
    '## Times',
    '',
    ...table(
      ['', 'hearth', 'PyTorch', 'better by', 'least cosine of a token with float32', 'real-time factor'],
      rows.map(cells),
    ),
    ...(scratchBytes === undefined
      ? []
      : ['', `The largest picture took ${inUnit(scratchBytes, 'bytes')} above the loaded model.`]),
  ];
  return `${lines.join('\n').trimEnd()}\n`;
}
