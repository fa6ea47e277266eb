import Ajv from 'ajv';
import {
  callText,
  type FunctionDeclaration,
  fillCallPrompt,
  parseCalls,
  replySchema,
  resultText,
} from '../../daemon/calls';

const light: FunctionDeclaration = {
  name: 'set_light',
  description: 'Switches a light.',
  parameters: {
    type: 'object',
    properties: { room: { $ref: '#/$defs/room' } },
    required: ['room'],
    additionalProperties: false,
    $defs: { room: { enum: ['hall'] } },
  },
};
const quiet: FunctionDeclaration = {
  name: 'be_quiet',
  parameters: { type: 'object', properties: {}, additionalProperties: false },
};

test('a reply is a call of one of the functions or null; with one required, not null', () => {
  const fits = new Ajv().compile(replySchema([light, quiet]));
  expect(fits({ name: 'set_light', arguments: { room: 'hall' } })).toBe(true);
  expect(fits({ name: 'be_quiet', arguments: {} })).toBe(true);
  expect(fits(null)).toBe(true);
  expect(fits({ name: 'set_light', arguments: { room: 'moon' } })).toBe(false);
  expect(fits({ name: 'be_quiet', arguments: { room: 'hall' } })).toBe(false);
  expect(fits({ name: 'other', arguments: {} })).toBe(false);
  const called = new Ajv().compile(replySchema([light], { required: true }));
  expect(called({ name: 'set_light', arguments: { room: 'hall' } })).toBe(true);
  expect(called(null)).toBe(false);
});

test('the prompt has functions and words where the model’s template wants them, and takes neither for a slot', () => {
  const prompt = fillCallPrompt('F:\n{functions}\nT: {text}', [light, quiet], '{functions}');
  const [first, second, third, last] = prompt.split('\n');
  expect(first).toBe('F:');
  expect(JSON.parse(second ?? '')).toEqual({
    name: light.name,
    description: light.description,
    parameters: light.parameters,
  });
  expect(JSON.parse(third ?? '')).toEqual({ name: 'be_quiet', parameters: quiet.parameters });
  expect(last).toBe('T: {functions}');
});

test('a call reads as it was written, a result says whose it is', () => {
  const call = { name: 'set_light', arguments: { room: 'hall' } };
  expect(parseCalls(callText(call))).toEqual([call]);
  expect(parseCalls('null')).toEqual([]);
  expect(parseCalls(`[${callText(call)},${callText(call)}]`)).toEqual([call, call]);
  expect(resultText('set_light', 'on')).toBe('Result of set_light: on');
  expect(resultText(undefined, 'on')).toBe('Result: on');
});

test('where several calls are allowed, one is still an object, and more are a bounded list', () => {
  const fits = new Ajv().compile(replySchema([light, quiet], { maxCalls: 3 }));
  const one = { name: 'set_light', arguments: { room: 'hall' } };
  const other = { name: 'be_quiet', arguments: {} };
  expect([one, null, [one, other], [other, other, one]].map((reply) => fits(reply))).toEqual([true, true, true, true]);
  for (const reply of [[], [one], [one, one, one, one], [one, null], [one, { name: 'set_light', arguments: {} }]])
    expect(fits(reply)).toBe(false);
  const required = new Ajv().compile(replySchema([light], { maxCalls: 2, required: true }));
  expect([one, [one, one], null].map((reply) => required(reply))).toEqual([true, true, false]);
});

test('parameters of any depth are refused, not walked into', () => {
  let deep: unknown = {};
  for (let i = 0; i < 100_000; i++) deep = { not: deep };
  const parameters = { type: 'object', properties: { deep } };
  expect(() => replySchema([{ name: 'f', parameters }])).toThrow(expect.objectContaining({ code: 'SCHEMA_INVALID' }));
});

test('a thousand functions make a schema of a thousand calls', () => {
  const many = Array.from({ length: 1000 }, (_, i) => ({ ...quiet, name: `f${i}` }));
  const fits = new Ajv().compile(replySchema(many, { maxCalls: 2 }));
  expect(
    fits([
      { name: 'f999', arguments: {} },
      { name: 'f0', arguments: {} },
    ]),
  ).toBe(true);
});

test('functions whose schemas have the same $id are parts of one schema all the same; a property may be called so', () => {
  const parameters = {
    $id: 'https://example.org/level',
    type: 'object',
    properties: { $id: { $ref: '#/$defs/level' } },
    required: ['$id'],
    $defs: { level: { enum: [1, 2] } },
  };
  const fits = new Ajv({ strict: false }).compile(
    replySchema([light, { name: 'a', parameters }, { name: 'b', parameters }]),
  );
  expect([1, 3].map((level) => fits({ name: 'b', arguments: { $id: level } }))).toEqual([true, false]);
});
