import Ajv from 'ajv';
import {
  callPrompt,
  callText,
  parseCall,
  parseTools,
  replySchema,
  resultText,
  type ToolFunction,
} from '../../../daemon/http/tools';

const light: ToolFunction = {
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
const quiet: ToolFunction = {
  name: 'be_quiet',
  parameters: { type: 'object', properties: {}, additionalProperties: false },
};

test('a reply is a call of one of the functions or null; with one required, not null', () => {
  const fits = new Ajv().compile(replySchema({ functions: [light, quiet], required: false }));
  expect(fits({ name: 'set_light', arguments: { room: 'hall' } })).toBe(true);
  expect(fits({ name: 'be_quiet', arguments: {} })).toBe(true);
  expect(fits(null)).toBe(true);
  expect(fits({ name: 'set_light', arguments: { room: 'moon' } })).toBe(false);
  expect(fits({ name: 'be_quiet', arguments: { room: 'hall' } })).toBe(false);
  expect(fits({ name: 'other', arguments: {} })).toBe(false);
  const called = new Ajv().compile(replySchema({ functions: [light], required: true }));
  expect(called({ name: 'set_light', arguments: { room: 'hall' } })).toBe(true);
  expect(called(null)).toBe(false);
});

test('the prompt has functions and words where the model’s template wants them, and takes neither for a slot', () => {
  const prompt = callPrompt(
    'F:\n{functions}\nT: {text}',
    { functions: [light, quiet], required: false },
    '{functions}',
  );
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
  expect(parseCall(callText(call))).toEqual(call);
  expect(parseCall('null')).toBeNull();
  expect(resultText('set_light', 'on')).toBe('Result of set_light: on');
  expect(resultText(undefined, 'on')).toBe('Result: on');
});

test('tools are functions with names of their own', () => {
  const tool = (declared: object) => [{ type: 'function', function: declared }];
  expect(parseTools(undefined)).toEqual([]);
  expect(parseTools(null)).toEqual([]);
  expect(parseTools([{ function: { name: 'f', description: null, parameters: null } }])).toEqual([
    { name: 'f', parameters: { type: 'object', properties: {}, additionalProperties: false } },
  ]);
  for (const value of [
    'x',
    {},
    [null],
    [{ type: 'retrieval' }],
    tool({}),
    tool({ name: 'a b' }),
    tool({ name: '' }),
    tool({ name: 'x'.repeat(65) }),
    tool({ name: 'f', description: 5 }),
    tool({ name: 'f', parameters: { type: 'array' } }),
    tool({ name: 'f', parameters: [] }),
    [...tool({ name: 'f' }), ...tool({ name: 'f' })],
    Array.from({ length: 129 }, (_, i) => tool({ name: `f${i}` })[0]),
  ]) {
    expect(() => parseTools(value)).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }));
  }
});
