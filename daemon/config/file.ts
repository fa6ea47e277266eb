/** The configuration file: YAML or JSON to a plain mapping. */
import { readFileSync, statSync } from 'node:fs';
import { parseDocument } from 'yaml';
import { HearthError } from '../errors';
import { type ConfigProblem, isRecord, reasonOf, show } from './problems';

const maxFileBytes = 1 << 20;

/** What cannot be parsed becomes a problem; throws `FILE_UNREADABLE` where there is nothing to parse. */
export function parseFile(path: string, problems: ConfigProblem[]): Record<string, unknown> {
  let content: string;
  try {
    const { size } = statSync(path);
    if (size > maxFileBytes) {
      throw new HearthError(
        'FILE_UNREADABLE',
        `configuration ${path}: expected at most ${maxFileBytes} bytes, received ${size}`,
      );
    }
    content = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof HearthError) throw error;
    throw new HearthError('FILE_UNREADABLE', `configuration ${path}: ${reasonOf(error)}`, { cause: error });
  }
  // JSON is YAML 1.2, so one parser serves both. Aliases are refused beyond a few: they can multiply without bound.
  const document = parseDocument(content, { prettyErrors: true, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) {
    problems.push({
      path: '(file)',
      expected: 'YAML or JSON',
      received: error.message.split('\n')[0] ?? error.code,
      origin: path,
    });
    return {};
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    problems.push({ path: '(file)', expected: 'at most 100 aliases', received: reasonOf(cause), origin: path });
    return {};
  }
  if (value === null || value === undefined) return {};
  if (!isRecord(value)) {
    problems.push({ path: '(file)', expected: 'a mapping of sections', received: show(value), origin: path });
    return {};
  }
  return value;
}
