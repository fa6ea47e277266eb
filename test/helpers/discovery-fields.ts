/** A device discovery payload against the field names Home Assistant publishes, written down in a fixture. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Fields {
  readonly abbreviations: Readonly<Record<string, string>>;
  readonly deviceAbbreviations: Readonly<Record<string, string>>;
  readonly originAbbreviations: Readonly<Record<string, string>>;
  readonly availability: readonly string[];
  readonly root: readonly string[];
  readonly entity: readonly string[];
  readonly platforms: Readonly<Record<string, readonly string[]>>;
  readonly updateState: readonly string[];
}

type Json = Readonly<Record<string, unknown>>;

export const fields = JSON.parse(
  readFileSync(join(process.cwd(), 'test/fixtures/home/home-assistant-fields.json'), 'utf8'),
) as Fields;

/** What is wrong with the names in `object`: unknown ones, and required ones that are missing. */
function check(
  object: Json,
  names: Readonly<Record<string, string>>,
  allowed: readonly string[],
  where: string,
): string[] {
  const known = allowed.map((name) => name.replace('!', ''));
  const full = Object.keys(object).map((key) => (Object.hasOwn(names, key) ? (names[key] ?? key) : key));
  return [
    ...full.filter((name) => !known.includes(name)).map((name) => `${where}: ${name} is no field of it`),
    ...allowed
      .filter((name) => name.endsWith('!') && !full.includes(name.slice(0, -1)))
      .map((name) => `${where}: ${name.slice(0, -1)} is missing`),
  ];
}

/** One sentence for each name that Home Assistant would not know or would miss. */
export function discoveryProblems(payload: Json): string[] {
  const { abbreviations } = fields;
  const own = (names: Readonly<Record<string, string>>): readonly string[] => Object.values(names);
  const strip = (names: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
    Object.fromEntries(Object.entries(names).map(([key, name]) => [key, name.replace('!', '')]));
  const { dev, o, avty = [], cmps } = payload as { dev: Json; o: Json; avty?: Json[]; cmps: Record<string, Json> };
  return [
    ...check(payload, abbreviations, fields.root, 'payload'),
    ...check(dev, fields.deviceAbbreviations, own(fields.deviceAbbreviations), 'dev'),
    ...check(o, strip(fields.originAbbreviations), own(fields.originAbbreviations), 'o'),
    ...avty.flatMap((entry) => check(entry, abbreviations, fields.availability, 'avty')),
    ...Object.entries(cmps).flatMap(([id, component]) => {
      const platform = fields.platforms[String(component['p'])];
      if (platform === undefined) return [`${id}: ${String(component['p'])} is no platform`];
      // With nothing but its platform, an entity is removed.
      if (Object.keys(component).length === 1) return [];
      return check(component, abbreviations, [...fields.entity, ...platform], id);
    }),
  ];
}
