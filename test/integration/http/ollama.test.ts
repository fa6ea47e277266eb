/** The front door for Ollama's interface, held to Ollama's own client. */
import { readFileSync } from 'node:fs';
import { Ollama } from 'ollama';
import { type ServingHearthd as Hearthd, serveHearthd } from '../../helpers/hearthd';

jest.setTimeout(60_000);

let hearthd: Hearthd;
let client: Ollama;

const picture = (name: string): string => readFileSync(`daemon/demo/media/${name}`).toString('base64');

beforeAll(async () => {
  hearthd = await serveHearthd();
  client = new Ollama({ host: hearthd.url });
});

afterAll(async () => {
  expect(await hearthd.stop()).toBe(0);
  expect(hearthd.output()).not.toMatch(/"level":"(error|fatal)"/);
});

const tools = [
  {
    type: 'function',
    function: {
      name: 'set_light',
      description: 'Switches the light in a room on or off.',
      parameters: {
        type: 'object',
        properties: { room: { type: 'string', enum: ['kitchen', 'bedroom'] }, on: { type: 'boolean' } },
        required: ['room', 'on'],
      },
    },
  },
];

test('lists its model, shows what it is and can, and that it is loaded', async () => {
  const { models } = await client.list();
  expect(models).toEqual([
    {
      name: 'nano:latest',
      model: 'nano:latest',
      modified_at: expect.any(String),
      size: expect.any(Number),
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
      details: {
        parent_model: '',
        format: 'gguf',
        family: 'gemma3n',
        families: ['gemma3n'],
        parameter_size: '10.8M',
        quantization_level: 'unknown',
      },
    },
  ]);
  expect(models[0]?.size).toBe(
    ['nano.gguf', 'mmproj-nano.gguf'].reduce((sum, file) => sum + readFileSync(`daemon/demo/model/${file}`).length, 0),
  );
  const shown = await client.show({ model: 'nano' });
  expect(shown.capabilities).toEqual(['completion', 'tools', 'vision', 'audio']);
  expect(shown.model_info).toMatchObject({ 'general.architecture': 'gemma3n', 'gemma3n.context_length': 2048 });
  expect((await client.ps()).models).toMatchObject([{ name: 'nano:latest' }]);
  expect((await client.version()).version).toMatch(/^\d+\.\d+\.\d+$/);
});

test('says what is in a picture, in a chat and without one', async () => {
  const chat = await client.chat({
    model: 'nano',
    messages: [{ role: 'user', content: 'Describe the image.', images: [picture('000.png')] }],
  });
  expect(chat.message).toEqual({ role: 'assistant', content: 'A tree in the snow.' });
  expect(chat).toMatchObject({ model: 'nano', done: true, done_reason: 'stop', eval_count: 6 });
  expect(chat.prompt_eval_count).toBeGreaterThan(256);
  expect(chat.total_duration).toBeGreaterThanOrEqual(chat.eval_duration);

  const generated = await client.generate({
    model: 'nano:latest',
    prompt: 'Describe the image.',
    images: [readFileSync('daemon/demo/media/000.png')],
  });
  expect(generated.response).toBe('A tree in the snow.');
  expect(generated).not.toHaveProperty('message');
});

test('streams what it would have said at once', async () => {
  // A long reply: a short one may come in one piece.
  const format = { type: 'array', items: { enum: ['tree', 'snow', 'bicycle'] }, minItems: 40, maxItems: 40 };
  const request = { model: 'nano', messages: [{ role: 'user', content: 'What is there?' }], format };
  const whole = await client.chat(request);
  const parts = [];
  for await (const part of await client.chat({ ...request, stream: true })) parts.push(part);
  expect(parts.length).toBeGreaterThan(4);
  expect(parts.map(({ message }) => message.content).join('')).toBe(whole.message.content);
  expect(parts.map(({ done }) => done)).toEqual([...parts.slice(1).map(() => false), true]);
  expect(parts.at(-1)).toMatchObject({ done_reason: 'stop', eval_count: whole.eval_count });
  let text = '';
  for await (const part of await client.generate({
    model: 'nano',
    prompt: 'What is there?',
    format,
    stream: true,
  }))
    text += part.response;
  expect(text).toBe(whole.message.content);
});

test('the reply fits the format', async () => {
  const format = {
    type: 'object',
    properties: { animal: { enum: ['horse', 'cat'] }, day: { type: 'boolean' } },
    required: ['animal', 'day'],
  };
  const messages = [{ role: 'user', content: 'What is there?', images: [picture('008.png')] }];
  const { message } = await client.chat({ model: 'nano', messages, format });
  const value = JSON.parse(message.content) as { animal: string; day: boolean };
  expect(['horse', 'cat']).toContain(value.animal);
  expect(typeof value.day).toBe('boolean');
  const { response } = await client.generate({ model: 'nano', prompt: 'What is there?', format: 'json' });
  expect(typeof JSON.parse(response ?? '')).toBe('object');
});

test('calls a function where one fits, and writes where none does', async () => {
  const ask = (content: string) => ({ model: 'nano', messages: [{ role: 'user', content }], tools });
  const { message, done_reason: reason } = await client.chat(ask('Turn on the light in the kitchen.'));
  expect(message).toEqual({
    role: 'assistant',
    content: '',
    tool_calls: [{ function: { name: 'set_light', arguments: { room: 'kitchen', on: true } } }],
  });
  expect(reason).toBe('stop');
  const parts = [];
  for await (const part of await client.chat({ ...ask('Turn on the light in the kitchen.'), stream: true }))
    parts.push(part);
  expect(parts.flatMap(({ message: { tool_calls: calls } }) => calls ?? [])).toEqual(message.tool_calls);
  expect(parts.at(-1)?.done).toBe(true);

  const plain = await client.chat({ model: 'nano', messages: [{ role: 'user', content: 'I am home.' }] });
  expect((await client.chat(ask('I am home.'))).message).toEqual(plain.message);

  const next = await client.chat({
    model: 'nano',
    messages: [
      { role: 'system', content: 'You are a house.' },
      { role: 'user', content: 'Turn on the light in the kitchen.' },
      message,
      { role: 'tool', tool_name: 'set_light', content: 'done' },
    ],
    options: { num_predict: 5 },
  });
  expect(next.prompt_eval_count).toBeGreaterThan(40);
});

test('options count, and asking nothing is how a model is loaded', async () => {
  const messages = [{ role: 'user', content: 'Describe the image.', images: [picture('000.png')] }];
  const short = await client.chat({ model: 'nano', messages, options: { num_predict: 2, num_ctx: 4096 } });
  expect(short).toMatchObject({ done_reason: 'length', eval_count: 2 });
  const stopped = await client.chat({ model: 'nano', messages, options: { stop: [' snow'] } });
  expect(stopped.message.content).toBe('A tree in the');
  const warm = { temperature: 2, seed: 7 };
  const once = await client.generate({ model: 'nano', prompt: 'Hello', options: warm });
  expect((await client.generate({ model: 'nano', prompt: 'Hello', options: warm })).response).toBe(once.response);
  expect(await client.generate({ model: 'nano', prompt: '' })).toMatchObject({ done: true, done_reason: 'load' });
  expect(await client.chat({ model: 'nano', messages: [] })).toMatchObject({ done: true, done_reason: 'load' });
  // The name of a slice in place of a tag.
  expect((await client.chat({ model: 'nano:half', messages })).model).toBe('nano:half');
});

test('what is wrong is said as Ollama says it, with a code of ours', async () => {
  const messages = [{ role: 'user', content: 'Hello' }];
  await expect(client.chat({ model: 'llama3', messages })).rejects.toMatchObject({
    status_code: 404,
    error: expect.stringMatching(/^MODEL_UNKNOWN: .*nano/),
  });
  await expect(client.chat({ model: 'llama3', messages, stream: true })).rejects.toThrow('MODEL_UNKNOWN');
  await expect(client.generate({ model: 'nano', prompt: 'x', raw: true })).rejects.toThrow('REQUEST_INVALID: body.raw');
  await expect(
    client.chat({ model: 'nano', messages: [{ role: 'user', content: 'x', images: ['AAAA'] }] }),
  ).rejects.toThrow('MEDIA_NOT_AN_IMAGE');
  await expect(client.chat({ model: 'nano', messages, format: { type: 'nonsense' } })).rejects.toThrow(
    'SCHEMA_INVALID',
  );
  await expect(client.pull({ model: 'llama3' })).rejects.toMatchObject({ status_code: 404 });
  // As curl sends it unless it is told otherwise.
  const response = await fetch(`${hearthd.url}/api/chat`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: JSON.stringify({ model: 'nano', messages, stream: false }),
  });
  expect(await response.json()).toMatchObject({ done: true });
});
