/**
 * Replies of a model that wants nothing (random weights, a temperature that makes all tokens alike) under a schema,
 * judged by a validator that knows nothing of the grammar.
 */
import { join } from 'node:path';
import Ajv2020 from 'ajv/dist/2020';
import { replySchema } from '../../../daemon/calls';
import { unenforcedIn } from '../../../daemon/inference/enforced';
import { NativeEngine, type NativeSession } from '../../../daemon/inference/native';
import { FunctionRegistry } from '../../../daemon/plugins/function-registry';

const modelPath = join(__dirname, '../../../../test/fixtures/models/e2b-narrow.gguf');
const maxReplyTokens = 400;

type Schema = Record<string, unknown>;

let engine: NativeEngine;
let session: NativeSession;

beforeAll(async () => {
  engine = await NativeEngine.open({ modelPath, threads: 1 });
  session = engine.newSession();
});

async function reply(schema: Schema, seed: number): Promise<string> {
  session.rewind(0);
  session.setGrammar(JSON.stringify(schema));
  session.append(Int32Array.of(engine.info.special.bos));
  await session.advance(1);
  let text = '';
  for (let i = 0; i < maxReplyTokens; i++) {
    const sampled = session.sample({ temperature: 100, seed });
    if (sampled.end) return text + session.flushText();
    text += sampled.text;
    await session.advance(1);
  }
  throw new Error(`no end after ${maxReplyTokens} tokens: ${text}`);
}

async function expectReplies(schema: Schema, seeds: readonly number[]): Promise<void> {
  const validate = new Ajv2020({ strict: false }).compile(schema);
  for (const seed of seeds) {
    const text = await reply(schema, seed);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (error) {
      throw new Error(`${JSON.stringify(schema)} let ${JSON.stringify(text)} pass`, { cause: error });
    }
    if (!validate(value)) {
      throw new Error(`${JSON.stringify(schema)} let ${text} pass: ${JSON.stringify(validate.errors)}`);
    }
  }
}

const short = { type: 'string', maxLength: 6 };

test.each<[string, Schema]>([
  [
    'function calls',
    {
      anyOf: [
        {
          type: 'object',
          properties: {
            name: { const: 'set_light' },
            arguments: {
              type: 'object',
              properties: { room: { enum: ['kitchen', 'Küche', 'all "rooms"'] }, on: { type: 'boolean' } },
              required: ['room'],
              additionalProperties: false,
            },
          },
          required: ['name', 'arguments'],
          additionalProperties: false,
        },
        { type: 'null' },
      ],
    },
  ],
  ['strings by length', { type: 'string', minLength: 3, maxLength: 9 }],
  ['a pattern', { type: 'string', pattern: '^[A-ZÄÖÜ][a-zäöüß]{1,4}( \\d{2}|-\\w{1,3}?x)?$' }],
  ['classes and their opposites', { type: 'string', pattern: '^[^a-m]\\S.\\s\\W$' }],
  ['integers', { type: 'integer', minimum: -17, exclusiveMaximum: 1203 }],
  ['multiples', { type: 'integer', minimum: -50, maximum: 1000, multipleOf: 7 }],
  ['any number', { type: 'number' }],
  ['numbers', { type: 'number', exclusiveMinimum: -0.25, maximum: 12.125 }],
  ['numbers from below', { type: 'number', maximum: -3 }],
  [
    'a tuple',
    { type: 'array', prefixItems: [{ type: 'null' }, short], items: { type: 'boolean' }, minItems: 1, maxItems: 4 },
  ],
  [
    'a list',
    { type: 'array', items: { type: ['integer', 'null'], minimum: 0, maximum: 99 }, minItems: 2, maxItems: 5 },
  ],
  [
    'optional properties',
    {
      type: 'object',
      properties: { a: short, b: false, c: { type: 'null' }, d: { const: [1, { e: 2 }] } },
      required: ['c'],
      additionalProperties: false,
    },
  ],
  [
    'recursion',
    {
      $ref: '#/$defs/tree',
      $defs: {
        tree: {
          type: 'object',
          properties: {
            v: { type: 'integer', minimum: 0, maximum: 9 },
            kids: { type: 'array', items: { $ref: '#/$defs/tree' }, maxItems: 1 },
          },
          required: ['v'],
          additionalProperties: false,
        },
      },
    },
  ],
  [
    'allOf',
    {
      allOf: [
        { properties: { a: { const: 1 } }, required: ['a'] },
        { type: 'object', properties: { b: { type: 'boolean' } } },
      ],
    },
  ],
])('every reply parses and fits: %s', async (_, schema) => {
  await expectReplies(
    schema,
    Array.from({ length: 25 }, (_unused, i) => i + 1),
  );
});

/** xorshift32: the same schemas on every machine. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

function randomSchema(random: (below: number) => number, depth: number): Schema {
  const kind = random(depth > 0 ? 10 : 7);
  const low = random(400) - 200;
  switch (kind) {
    case 0:
      return { type: ['null', 'boolean'] };
    case 1:
      return { type: 'integer', minimum: low, maximum: low + random(500) };
    case 2:
      return { type: 'number', minimum: low / 8, exclusiveMaximum: low / 8 + 0.5 + random(40) };
    case 3:
      return { type: 'string', minLength: random(3), maxLength: 3 + random(5) };
    case 4:
      return { enum: ['a', 'ab', 'b"\\', low, null, [low, {}]].slice(random(4)) };
    case 5:
      return {
        type: 'string',
        pattern: ['^(on|off|dim(med)?)$', '^[a-f0-9]{2}(:[a-f0-9]{2}){1,2}$', '^(x?y?){3}$'][random(3)],
      };
    case 6:
      return { const: { k: [low, `é\n${low}`] } };
    case 7:
      return { type: 'array', items: randomSchema(random, depth - 1), minItems: random(2), maxItems: 1 + random(3) };
    case 8:
      return { anyOf: [randomSchema(random, depth - 1), randomSchema(random, depth - 1)] };
    default: {
      const names = ['name', 'x y', 'ü', '"'].slice(random(3));
      const properties = Object.fromEntries(names.map((name) => [name, randomSchema(random, depth - 1)]));
      return { type: 'object', properties, required: names.filter(() => random(2) === 0), additionalProperties: false };
    }
  }
}

test('every reply parses and fits: schemas nobody thought of', async () => {
  const random = randomFrom(20_250_101);
  for (let i = 0; i < 60; i++) await expectReplies(randomSchema(random, 3), [i + 1, i + 1001]);
});

const object = (properties: Schema): Schema => ({
  type: 'object',
  properties,
  required: Object.keys(properties),
  additionalProperties: false,
});

test('several calls in one reply fit their functions, in number and in every argument', async () => {
  const schema = replySchema(
    [
      {
        name: 'set_scene',
        parameters: object({
          room: { $ref: '#/$defs/room' },
          lamps: {
            type: 'array',
            items: object({
              level: { type: 'integer', minimum: 0, maximum: 254 },
              warmth: { enum: ['warm', null, 7] },
            }),
            minItems: 1,
            maxItems: 2,
          },
          at: { type: 'string', pattern: '^([01]\\d|2[0-3]):[0-5]\\d$' },
          volume: { type: 'number', minimum: 0, exclusiveMaximum: 1.5 },
        }),
      },
      { name: 'stop', parameters: object({}) },
    ].map((declared) => ({
      ...declared,
      parameters: { ...declared.parameters, $defs: { room: { enum: ['hall', 'attic'] } } },
    })),
    { maxCalls: 3 },
  ) as Schema;
  const seeds = Array.from({ length: 40 }, (_unused, i) => i + 1);
  await expectReplies(schema, seeds);
  const kinds = new Set<string>();
  for (const seed of seeds) {
    const value = JSON.parse(await reply(schema, seed)) as unknown;
    kinds.add(Array.isArray(value) ? 'list' : value === null ? 'none' : 'one');
  }
  expect([...kinds].sort()).toEqual(['list', 'none', 'one']);
});

test('a thousand functions can be told apart; more than are enforced are refused by place', async () => {
  const many = (count: number) =>
    replySchema(
      Array.from({ length: count }, (_unused, i) => ({
        name: `f${i}`,
        parameters: object({ on: { type: 'boolean' } }),
      })),
      { maxCalls: 2, required: true },
    ) as Schema;
  await expectReplies(many(1000), [1, 2]);
  expect(() => session.setGrammar(JSON.stringify(many(1025)))).toThrow(/1024/);
});

test('oneOf is enforced as anyOf is: a reply may fit more than one', async () => {
  const choices = [{ type: 'integer', minimum: 0, maximum: 1 }, { const: 1 }];
  const replies = new Set<string>();
  for (let seed = 1; seed <= 20; seed++) replies.add(await reply({ oneOf: choices }, seed));
  expect([...replies].sort()).toEqual(['0', '1']);
});

test.each<[string, Schema]>([
  ['not', { not: { type: 'null' } }],
  ['if', { if: {}, else: {} }],
  ['patternProperties', { type: 'object', patternProperties: { a: {} } }],
  ['uniqueItems', { type: 'array', uniqueItems: true }],
  ['format with a pattern of its own', { type: 'string', pattern: '^(?=a)' }],
  ['a pattern with a length', { type: 'string', pattern: '^a*$', maxLength: 3 }],
  ['multipleOf of numbers', { type: 'number', multipleOf: 0.5 }],
  ['multipleOf without bounds', { type: 'integer', multipleOf: 5 }],
  ['format', { type: 'string', format: 'date' }],
  ['contains', object({ a: { type: 'array', contains: {} } })],
  ['a keyword called like a member of every object', { constructor: {} }],
  ['something beside $ref', { $ref: '#/$defs/a', type: 'string', $defs: { a: {} } }],
  ['a $ref to nowhere', { $ref: '#/$defs/a' }],
  ['a $ref to a member of every object', { $ref: '#/constructor' }],
  ['a $ref to elsewhere', { $ref: 'https://example.org/a' }],
  ['a $ref to itself', { anyOf: [{ type: 'null' }, { $ref: '#' }] }],
  ['what a $ref leads to', { ...object({ a: { $ref: '#/$defs/a~1b' } }), $defs: { 'a/b': { not: {} } } }],
  ['something beside enum', { enum: [1], minimum: 1 }],
  ['something beside anyOf', { type: 'object', anyOf: [{ type: 'object' }] }],
  ['allOf of other than objects', { allOf: [{ type: 'string' }, { minLength: 1 }] }],
  ['allOf that declares twice', { allOf: [object({ a: {} }), object({ a: {} })] }],
  ['allOf with a broken member', { allOf: [{ type: 'object' }, { properties: { a: { not: {} } } }] }],
  ['required without a property', { type: 'object', properties: { a: {} }, required: ['constructor'] }],
  ['a schema of other properties', { type: 'object', properties: { a: {} }, additionalProperties: { type: 'null' } }],
  ['counts beside properties', { type: 'object', properties: { a: {} }, maxProperties: 1 }],
  ['two properties of a map', { type: 'object', minProperties: 2 }],
  ['a broken value of a map', { type: 'object', additionalProperties: { not: {} } }],
  ['broken items', { type: 'array', items: { not: {} } }],
  ['a list of items', { type: 'array', items: [{ type: 'null' }] }],
  ['broken first items', { type: 'array', prefixItems: [{ not: {} }] }],
  ['a look-behind', { type: 'string', pattern: '(?<!a)b' }],
  ['a word boundary', { type: 'string', pattern: '[(?=]\\b' }],
  ['a back reference', { type: 'string', pattern: '(a)\\1' }],
  ['an anchor within a pattern', { type: 'string', pattern: '(^a$)' }],
  ['an end within a pattern', { type: 'string', pattern: 'a$b' }],
  ['an anchor beside a choice', { type: 'string', pattern: '^a|b' }],
  ['a length of ten digits', { type: 'string', maxLength: 2_147_483_647 }],
  ['lengths with nothing between', { type: 'string', minLength: 2, maxLength: 1 }],
  ['counts with nothing between', { type: 'array', minItems: 2, maxItems: 1 }],
  ['a negative count', { type: 'object', maxProperties: -1 }],
  ['integers with nothing between', { type: 'integer', exclusiveMinimum: 1, exclusiveMaximum: 2 }],
  ['integers beyond fifteen digits', { type: 'integer', minimum: 1e15 }],
  ['numbers with nothing between', { type: 'number', minimum: 1, exclusiveMaximum: 1 }],
  ['numbers above what they are below', { type: 'number', exclusiveMinimum: 2, maximum: 1 }],
  ['a bound with an exponent', { type: 'number', maximum: 3.4e38 }],
  ['a bound of seven decimals', { type: 'number', maximum: 0.1234567 }],
  ['a long pattern', { type: 'string', pattern: 'a'.repeat(1025) }],
])('what is not enforced is refused, not ignored, and known before: %s', (_what, schema) => {
  expect(() => session.setGrammar(JSON.stringify(schema))).toThrow(expect.objectContaining({ code: 'SCHEMA_INVALID' }));
  expect(unenforcedIn(schema)).toEqual(expect.any(String));
});

test.each<[string, Schema]>([
  [
    'every annotation',
    { ...object({}), $schema: 'x', $id: 'x', $comment: 'x', title: 'x', examples: [1], readOnly: true },
  ],
  ['keywords of a type that is ruled out', { type: 'null', pattern: '(?=a)', multipleOf: 0.5, items: { not: {} } }],
  ['definitions nobody refers to', { ...object({}), $defs: { a: { not: {} } } }],
  ['a $ref to itself, further in', object({ a: { anyOf: [{ type: 'null' }, { $ref: '#' }] } })],
  [
    'several objects in allOf',
    {
      allOf: [
        { type: 'object', properties: { a: {} } },
        { title: 'x', properties: { b: {} }, required: ['b'] },
      ],
    },
  ],
  ['a pattern of its own characters', { type: 'string', pattern: '^(?:[(?=^\\]]|\\\\b|\\(\\?=|\\u0041+?)$' }],
  ['anchors, and a choice in a group', { type: 'string', pattern: '^(a|b)[|$^]$' }],
  ['a choice without anchors', { type: 'string', pattern: 'a|b' }],
  ['bounds that leave one', { type: 'integer', exclusiveMinimum: 1, maximum: 2 }],
  ['bounds beyond fifteen digits', { type: 'integer', minimum: -9007199254740991, maximum: 9007199254740991 }],
  ['bounds with decimals', { type: 'number', minimum: -0.000001, exclusiveMaximum: 123456789012345 }],
  ['counts that leave one', { type: 'array', minItems: 1, maxItems: 1, items: { type: 'null' } }],
  ['multiples within bounds', { type: 'integer', multipleOf: 5, minimum: 0, exclusiveMaximum: 100 }],
  ['an enum of a type, with any members', { type: 'object', enum: [{ not: { $ref: 1 } }] }],
  ['a map', { type: 'object', minProperties: 1, maxProperties: 3, additionalProperties: { type: 'null' } }],
  ['anything', {}],
])('what is enforced is not taken for what is not: %s', (_what, schema) => {
  expect(unenforcedIn(schema)).toBeUndefined();
  session.setGrammar(JSON.stringify(schema));
});

test('parameters as deep as a plugin may register fit into the schema of a reply, and no deeper', () => {
  const nested = (levels: number): Schema =>
    object({ a: { const: JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`) as unknown } });
  const set = (levels: number) =>
    session.setGrammar(JSON.stringify(replySchema([{ name: 'f', parameters: nested(levels) }], { maxCalls: 2 })));
  const registered = (levels: number) =>
    new FunctionRegistry().register('a', { name: 'f', parameters: nested(levels) }, async () => null);
  set(56);
  registered(56);
  expect(() => set(57)).toThrow(expect.objectContaining({ code: 'SCHEMA_INVALID' }));
  expect(() => registered(57)).toThrow(expect.objectContaining({ code: 'CALL_FUNCTION_INVALID' }));
});
