/** From `bridge/devices`, what Zigbee2MQTT knows of its devices, to the functions that set them. */
import { type JsonSchema, PluginError } from '../../daemon/plugins/api';

/** One thing that can be set on some devices: `set_light_state` of all lamps. */
export interface SetFunction {
  readonly name: string;
  readonly description: string;
  /** The key of the message to `<device>/set`. */
  readonly property: string;
  readonly value: ValueSchema;
  readonly devices: readonly string[];
}

export type ValueSchema =
  | { readonly enum: readonly (string | number | boolean)[] }
  | { readonly type: 'integer' | 'number'; readonly minimum?: number; readonly maximum?: number };

export interface DeviceFilter {
  /** Kinds of device, as Zigbee2MQTT calls them: light, switch, cover, fan, climate, lock. */
  readonly types: readonly string[];
  /** Friendly names; all when null. */
  readonly devices: readonly string[] | null;
}

export interface Devices {
  readonly functions: readonly SetFunction[];
  readonly devices: number;
  /** What was left out, and why. */
  readonly refused: readonly string[];
}

/** Devices of a large network send some hundred kB. */
const maxPayloadBytes = 4 << 20;
const maxDevices = 256;
const maxValues = 64;
/** Bit 2 of `access`: the property can be set. */
const settable = 0b010;
/** Levels a friendly name may have: the manifest declares the topics of so many. */
export const maxNameLevels = 3;

type Json = Readonly<Record<string, unknown>>;

function asRecord(value: unknown): Json | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function quote(text: unknown): string {
  return JSON.stringify(String(text).slice(0, 80));
}

/** Why a friendly name cannot be part of a topic, or undefined. */
function unusable(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '' || name.length > 128) return 'expected a name of 1 to 128 characters';
  const levels = name.split('/');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: brokers may refuse them, NUL they must.
  if (/[+#\p{Surrogate}\u0000-\u001f\u007f-\u009f]/u.test(name) || name.startsWith('$') || levels.includes('')) {
    return 'expected a name that can be part of a topic';
  }
  if (levels.length > maxNameLevels) return `expected at most ${maxNameLevels} levels`;
  return levels[0] === 'bridge' ? 'expected none of the bridge’s own topics' : undefined;
}

function isPlain(value: unknown): value is string | number | boolean {
  return ['string', 'boolean'].includes(typeof value) || (typeof value === 'number' && Number.isFinite(value));
}

function enumOf(values: readonly unknown[]): ValueSchema | undefined {
  const plain = values.filter(isPlain).filter((value) => typeof value !== 'string' || value.length <= 64);
  return plain.length === 0 || plain.length > maxValues ? undefined : { enum: [...new Set(plain)] };
}

function numericOf({ value_min: minimum, value_max: maximum, value_step: step }: Json): ValueSchema | undefined {
  const bounds = [minimum, maximum].filter((bound) => bound !== undefined);
  if (!bounds.every((bound) => typeof bound === 'number' && Number.isFinite(bound))) return undefined;
  if (typeof minimum === 'number' && typeof maximum === 'number' && minimum > maximum) return undefined;
  const whole = [...bounds, step ?? 1].every((number) => Number.isInteger(number));
  return {
    type: whole ? 'integer' : 'number',
    ...(typeof minimum === 'number' && { minimum }),
    ...(typeof maximum === 'number' && { maximum }),
  };
}

/** What may be sent for a feature, or undefined where it cannot be set or is no single value. */
function settingOf(feature: Json): ValueSchema | undefined {
  const { access, type } = feature;
  if (typeof access !== 'number' || (access & settable) === 0) return undefined;
  if (type === 'binary') return enumOf([feature['value_on'], feature['value_off'], feature['value_toggle']]);
  if (type === 'enum') return enumOf(asList(feature['values']));
  return type === 'numeric' ? numericOf(feature) : undefined;
}

/** Throws `MESSAGE_INVALID` for what is no list of devices; single devices that are of no use are left out. */
export function parseDevices(topic: string, payload: Uint8Array, filter: DeviceFilter): Devices {
  const invalid = (expected: string): PluginError =>
    new PluginError('MESSAGE_INVALID', `${topic}: expected ${expected}`);
  if (payload.length > maxPayloadBytes) throw invalid(`at most ${maxPayloadBytes} bytes, received ${payload.length}`);
  let list: unknown;
  try {
    list = JSON.parse(Buffer.from(payload).toString());
  } catch {
    throw invalid('JSON');
  }
  if (!Array.isArray(list)) throw invalid('a list of devices');

  const functions = new Map<string, Omit<SetFunction, 'devices'> & { readonly devices: Set<string> }>();
  const names = new Set<string>();
  const refused: string[] = [];
  for (const device of list.map(asRecord)) {
    const exposes = asList(asRecord(device?.['definition'])?.['exposes']).map(asRecord);
    const name = device?.['friendly_name'];
    // The coordinator and devices that are not supported have no definition.
    if (exposes.length === 0 || device?.['disabled'] === true) continue;
    if (filter.devices?.includes(String(name)) === false) continue;
    const problem = unusable(name) ?? (names.size >= maxDevices ? `expected at most ${maxDevices} devices` : undefined);
    if (problem !== undefined) {
      refused.push(`${quote(name)}: ${problem}`);
      continue;
    }
    for (const expose of exposes) {
      const type = expose?.['type'];
      if (typeof type !== 'string' || !filter.types.includes(type)) continue;
      for (const feature of asList(expose?.['features']).map(asRecord)) {
        // `category` marks settings of the device, such as what it does after a power cut.
        const property = feature?.['property'];
        if (feature === undefined || feature['category'] !== undefined || typeof property !== 'string') continue;
        const value = /^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(property) ? settingOf(feature) : undefined;
        if (value === undefined) continue;
        names.add(String(name));
        const key = JSON.stringify([type, property, value]);
        const known = functions.get(key);
        if (known !== undefined) known.devices.add(String(name));
        else {
          functions.set(key, {
            name: `set_${type}_${property}`,
            description: `Sets ${property} of a ${type}.`,
            property,
            value,
            devices: new Set([String(name)]),
          });
        }
      }
    }
  }
  return {
    functions: Array.from(functions.values(), ({ devices, ...rest }) => ({ ...rest, devices: [...devices] })),
    devices: names.size,
    refused,
  };
}

/** The arguments of a function as JSON Schema. */
export function parametersOf({ property, value, devices }: SetFunction): Exclude<JsonSchema, boolean> {
  return {
    type: 'object',
    properties: { device: { enum: devices }, [property]: value },
    required: ['device', property],
    additionalProperties: false,
  };
}

/** A reply that calls one of the functions, or none. */
export function replySchema(functions: readonly SetFunction[]): JsonSchema {
  return {
    anyOf: [
      ...functions.map((each) => ({
        type: 'object',
        properties: { name: { const: each.name }, arguments: parametersOf(each) },
        required: ['name', 'arguments'],
        additionalProperties: false,
      })),
      { type: 'null' },
    ],
  };
}

/** As a prompt shows them to a model that was not trained on them: one JSON object a line. */
export function describeFunctions(functions: readonly SetFunction[]): string {
  return functions
    .map((each) => JSON.stringify({ name: each.name, description: each.description, parameters: parametersOf(each) }))
    .join('\n');
}
