import { parseTools } from '../../../daemon/http/tools';

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
