/** From `bridge/devices`, what Zigbee2MQTT knows of its devices, to the functions that set them. */
import { type FunctionDeclaration, type JsonSchema, noParameters, PluginError } from '../../daemon/plugins/api';

/** One thing that can be set on some devices: `set_light` of all lamps. */
export interface SetFunction {
  readonly name: string;
  readonly description: string;
  /** The key of the message to `<device>/set`. */
  readonly property: string;
  /** What a call says for it: `on` for `state`. */
  readonly argument: string;
  readonly value: ValueSchema;
  /** What true and false stand for, of a boolean. */
  readonly sent?: { readonly on: Plain; readonly off: Plain };
  readonly devices: readonly string[];
}

export type Plain = string | number | boolean;
export type ValueSchema =
  | { readonly enum: readonly Plain[] }
  | { readonly type: 'boolean' }
  | { readonly type: 'integer' | 'number'; readonly minimum?: number; readonly maximum?: number };

export interface DeviceFilter {
  /** Kinds of device, as Zigbee2MQTT calls them: light, switch, cover, fan, climate, lock. */
  readonly types: readonly string[];
  /** Friendly names; all when null. */
  readonly devices: readonly string[] | null;
  /** The name that is taken by the device. */
  readonly deviceArgument: string;
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
/** What the state of a device is called, where it is one of two. */
const stateWords: Readonly<Record<string, string>> = {
  light: 'on',
  switch: 'on',
  fan: 'on',
  cover: 'open',
  lock: 'locked',
};
/** Bit 2 of `access`: the property can be set. */
const settableBit = 0b010;
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

function isPlain(value: unknown): value is Plain {
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

/** What is sent for true and false, where a feature has those two. */
function sentFor({ type, value_on: on, value_off: off }: Json): SetFunction['sent'] {
  return type === 'binary' && isPlain(on) && isPlain(off) && on !== off ? { on, off } : undefined;
}

/** `state` of a light is `on` of `set_light`, `state_l1` of a switch `on` of `set_switch_l1`; others keep their names. */
function namesOf(type: string, feature: Json, property: string): Pick<SetFunction, 'name' | 'argument'> {
  const word = Object.hasOwn(stateWords, type) ? stateWords[type] : undefined;
  if (feature['type'] !== 'binary' || feature['name'] !== 'state' || word === undefined) {
    return { name: `set_${type}_${property}`, argument: property };
  }
  return { name: `set_${type}${property.startsWith('state_') ? property.slice('state'.length) : ''}`, argument: word };
}

/** What may be said for a feature, or undefined where it cannot be set or is no single value. */
function settingOf(feature: Json): ValueSchema | undefined {
  const { access, type } = feature;
  if (typeof access !== 'number' || (access & settableBit) === 0) return undefined;
  if (type === 'binary') return sentFor(feature) === undefined ? undefined : { type: 'boolean' };
  if (type === 'enum') return enumOf(asList(feature['values']));
  return type === 'numeric' ? numericOf(feature) : undefined;
}

/** What a feature of a device makes, or undefined where it is nothing one would say. */
function functionOf(type: string, feature: Json): Omit<SetFunction, 'devices'> | undefined {
  const { property, category } = feature;
  // A category marks settings of the device, such as what it does after a power cut.
  if (typeof property !== 'string' || !/^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(property) || category !== undefined) {
    return undefined;
  }
  const value = settingOf(feature);
  if (value === undefined) return undefined;
  const sent = sentFor(feature);
  return {
    ...namesOf(type, feature, property),
    description: `Sets the ${property} of a ${type}.`,
    property,
    value,
    ...(sent !== undefined && { sent }),
  };
}

/** All that can be set on a device. */
function functionsOf(device: Json, { types, deviceArgument }: DeviceFilter): Omit<SetFunction, 'devices'>[] {
  const exposes = asList(asRecord(device['definition'])?.['exposes']).map(asRecord);
  return exposes.flatMap((expose) => {
    const type = expose?.['type'];
    if (typeof type !== 'string' || !types.includes(type)) return [];
    const made = asList(expose?.['features']).map((feature) => functionOf(type, asRecord(feature) ?? {}));
    return made.filter((each) => each !== undefined).filter(({ argument }) => argument !== deviceArgument);
  });
}

function parseList(topic: string, payload: Uint8Array): Json[] {
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
  return list.map((device) => asRecord(device) ?? {});
}

/** Throws `MESSAGE_INVALID` for what is no list of devices; single devices that are of no use are left out. */
export function parseDevices(topic: string, payload: Uint8Array, filter: DeviceFilter): Devices {
  const functions = new Map<string, { readonly made: Omit<SetFunction, 'devices'>; readonly devices: Set<string> }>();
  const names = new Set<string>();
  const refused: string[] = [];
  for (const device of parseList(topic, payload)) {
    const name = device['friendly_name'];
    const settable = filter.devices?.includes(String(name)) === false ? [] : functionsOf(device, filter);
    // The coordinator and devices that only measure.
    if (settable.length === 0 || device['disabled'] === true) continue;
    const problem = unusable(name) ?? (names.size >= maxDevices ? `expected at most ${maxDevices} devices` : undefined);
    if (problem !== undefined) {
      refused.push(`${quote(name)}: ${problem}`);
      continue;
    }
    names.add(String(name));
    for (const made of settable) {
      const key = JSON.stringify(made);
      const same = functions.get(key) ?? { made, devices: new Set() };
      same.devices.add(String(name));
      functions.set(key, same);
    }
  }
  return {
    functions: Array.from(functions.values(), ({ made, devices }) => ({ ...made, devices: [...devices] })),
    devices: names.size,
    refused,
  };
}

/** The arguments of a function as JSON Schema. */
export function parametersOf(
  { argument, value, devices }: SetFunction,
  deviceArgument: string,
): Exclude<JsonSchema, boolean> {
  return {
    type: 'object',
    properties: { [deviceArgument]: { enum: devices }, [argument]: value },
    required: [deviceArgument, argument],
    additionalProperties: false,
  };
}

/** As the model is asked for them: some of one name differ in their devices and values. */
export function declarationsOf(functions: readonly SetFunction[], deviceArgument: string): FunctionDeclaration[] {
  return functions.map((each) => ({
    name: each.name,
    description: each.description,
    parameters: parametersOf(each, deviceArgument),
  }));
}

/** The same with each name once, as functions are registered. */
export function mergedDeclarationsOf(functions: readonly SetFunction[], deviceArgument: string): FunctionDeclaration[] {
  const byName = new Map<string, FunctionDeclaration[]>();
  for (const declared of declarationsOf(functions, deviceArgument))
    byName.set(declared.name, [...(byName.get(declared.name) ?? []), declared]);
  return Array.from(byName, ([name, [first, ...rest]]) => {
    const parameters = [first, ...rest].flatMap((declared) => (declared === undefined ? [] : [declared.parameters]));
    return {
      name,
      ...(first?.description !== undefined && { description: first.description }),
      parameters: parameters.length === 1 ? (parameters[0] ?? noParameters) : { anyOf: parameters },
    };
  });
}
