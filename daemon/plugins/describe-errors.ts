import type { ErrorObject } from 'ajv';

/** The first few problems ajv found, each with the path of the value. */
export function describeErrors(errors: readonly ErrorObject[] | null | undefined, root: string): string {
  const problems = (errors ?? []).slice(0, 5).map(({ instancePath, message, params }) => {
    const detail = (params as Record<string, unknown>)['additionalProperty'];
    const extra = typeof detail === 'string' ? ` (${JSON.stringify(detail.slice(0, 60))})` : '';
    return `${root}${instancePath.replaceAll('/', '.')} ${message ?? 'does not fit'}${extra}`;
  });
  return problems.join('; ');
}
