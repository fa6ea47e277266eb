/** Calls of functions that are named like actions of Home Assistant, as messages an automation passes on. */

export interface ServiceMessage {
  readonly domain: string;
  readonly service: string;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** What an action may be aimed at; everything else in a call is data. */
const targets = ['entity_id', 'device_id', 'area_id', 'floor_id', 'label_id'];

interface CallEvent {
  readonly id: string;
  readonly stream: string;
  readonly call: { readonly name: string; readonly arguments: Readonly<Record<string, unknown>> };
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** A `call` event that calls something and is no dry run, or undefined. */
export function callOf(event: unknown): CallEvent | undefined {
  const { id, stream, call, dry_run } = asRecord(event) ?? {};
  if (dry_run === true) return undefined;
  const { name, arguments: given } = asRecord(call) ?? {};
  const args = asRecord(given);
  if (typeof id !== 'string' || typeof stream !== 'string' || typeof name !== 'string' || args === undefined)
    return undefined;
  return { id, stream, call: { name, arguments: args } };
}

/** `light.turn_on` and its like; undefined for functions that are something else. */
export function toService({ id, stream, call }: CallEvent): ServiceMessage | undefined {
  const [, domain, service] = /^([a-z][a-z0-9_]{0,63})\.([a-z][a-z0-9_]{0,63})$/.exec(call.name) ?? [];
  if (domain === undefined || service === undefined) return undefined;
  const entries = Object.entries(call.arguments);
  return {
    domain,
    service,
    payload: {
      action: call.name,
      target: Object.fromEntries(entries.filter(([name]) => targets.includes(name))),
      data: Object.fromEntries(entries.filter(([name]) => !targets.includes(name))),
      stream,
      id,
    },
  };
}

/** Whether one of `light.turn_on`, `light.*` stands for it; everything does when there is no list. */
export function isAllowed({ domain, service }: ServiceMessage, allowed: readonly string[] | null): boolean {
  return allowed === null || allowed.includes(`${domain}.${service}`) || allowed.includes(`${domain}.*`);
}

/** Where its message goes: a template with `{domain}` and `{service}`. */
export function serviceTopic(template: string, { domain, service }: ServiceMessage): string {
  return template.replaceAll('{domain}', domain).replaceAll('{service}', service);
}
