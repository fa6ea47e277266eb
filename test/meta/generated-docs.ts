/** The parts of documents that are made from the sources, between `<!-- generated:name -->` and `<!-- /generated -->`. */
import { optionTable } from '../../daemon/config';
import { catalogue } from '../../daemon/errors';

/** The catalogue as Markdown. */
export function errorTable(): string {
  const rows = Object.entries(catalogue).map(([code, entry]) => {
    const exitCode = 'exitCode' in entry ? String(entry.exitCode) : '';
    return `| \`${code}\` | ${entry.meaning} | ${entry.retryable ? 'yes' : 'no'} | ${exitCode} |`;
  });
  return ['| code | meaning | worth a retry | exit code |', '|---|---|---|---|', ...rows, ''].join('\n');
}

export const generators: Readonly<Record<string, () => string>> = {
  configuration: optionTable,
  errors: errorTable,
};

/** Which parts each document has. */
export const generatedParts: Readonly<Record<string, readonly (keyof typeof generators)[]>> = {
  'README.md': ['configuration'],
  'daemon/ERRORS.md': ['errors'],
};

const block = /(<!-- generated:(\w+) -->\n)([\s\S]*?)(<!-- \/generated -->)/g;

/** The text with every marked part made anew. Throws where a mark has no end or names nothing that is generated. */
export function withGeneratedBlocks(text: string): string {
  const opened = text.match(/<!-- generated:/g)?.length ?? 0;
  const closed = [...text.matchAll(block)].length;
  if (opened !== closed)
    throw new Error(
      `${opened} parts begin with <!-- generated:name -->, ${closed} of them end with <!-- /generated -->`,
    );
  return text.replace(block, (_all, open: string, name: string, _old: string, close: string) => {
    const generate = generators[name];
    if (generate === undefined)
      throw new Error(`<!-- generated:${name} -->: expected one of ${Object.keys(generators).join(', ')}`);
    return `${open}\n${generate().trim()}\n\n${close}`;
  });
}

/** Names of the marked parts, in order. */
export function generatedBlocks(text: string): string[] {
  return [...text.matchAll(block)].map(([, , name]) => name ?? '');
}
