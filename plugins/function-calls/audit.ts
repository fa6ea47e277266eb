/** What was decided about each call, as messages of the audit topic. */
import type { Call } from './functions';
import type { Origin } from './policy';

export type Step =
  | 'proposed'
  | 'refused'
  | 'pending'
  | 'confirmed'
  | 'rejected'
  | 'expired'
  | 'dry-run'
  | 'executed'
  | 'failed';

export interface AuditEntry {
  readonly v: 1;
  /** Of the call: all its entries have it. */
  readonly id: string;
  /** Unix time in seconds. */
  readonly ts: number;
  readonly node: string;
  readonly step: Step;
  readonly name: string;
  readonly arguments: unknown;
  readonly source: Origin['source'];
  readonly stream: string | null;
  readonly reason?: string;
}

const maxText = 200;
const maxMembers = 32;
const maxDepth = 6;
const maxReason = 300;
const secretName = /pass(word|phrase|code)?|secret|token|api_?key|credential|^pin$|(^|_)pin($|_)/i;

/** Arguments with what is secret or long left out. */
export function bounded(value: unknown, secrets: readonly string[] = [], depth = 0): unknown {
  if (typeof value === 'string') return value.length > maxText ? `${value.slice(0, maxText)}...` : value;
  if (typeof value !== 'object' || value === null) return value;
  if (depth === maxDepth) return '...';
  if (Array.isArray(value)) {
    const shown = value.slice(0, maxMembers).map((element) => bounded(element, secrets, depth + 1));
    return value.length > maxMembers ? [...shown, '...'] : shown;
  }
  const entries = Object.entries(value);
  const shown = entries
    .slice(0, maxMembers)
    .map(([name, child]) => [
      name.slice(0, maxText),
      secrets.includes(name) || secretName.test(name) ? '[redacted]' : bounded(child, secrets, depth + 1),
    ]);
  return Object.fromEntries(entries.length > maxMembers ? [...shown, ['...', entries.length - maxMembers]] : shown);
}

const maxArguments = 4096;

export function auditEntry(
  step: Step,
  { id, call, origin }: { readonly id: string; readonly call: Call; readonly origin: Origin },
  { node, secrets, reason }: { readonly node: string; readonly secrets?: readonly string[]; readonly reason?: string },
): AuditEntry {
  const shown = bounded(call.arguments, secrets);
  return {
    v: 1,
    id,
    ts: Date.now() / 1000,
    node,
    step,
    name: call.name,
    arguments: JSON.stringify(shown).length > maxArguments ? '...' : shown,
    source: origin.source,
    stream: origin.stream,
    ...(reason !== undefined && { reason: reason.slice(0, maxReason) }),
  };
}
