/** The front door for OpenAI's interface, held to OpenAI's own client and to what the model says without HTTP. */
import { createReadStream, readFileSync } from 'node:fs';
import OpenAI, { APIError, BadRequestError, NotFoundError, toFile } from 'openai';
import { type ServingHearthd as Hearthd, serveHearthd } from '../../helpers/hearthd';

jest.setTimeout(60_000);

const media = (name: string): string => `daemon/demo/media/${name}`;
const base64 = (name: string): string => readFileSync(media(name)).toString('base64');

let hearthd: Hearthd;
let client: OpenAI;

beforeAll(async () => {
  hearthd = await serveHearthd();
  client = new OpenAI({ baseURL: `${hearthd.url}/v1`, apiKey: 'none', maxRetries: 0 });
});

afterAll(async () => {
  expect(await hearthd.stop()).toBe(0);
  expect(hearthd.output()).not.toMatch(/"level":"(error|fatal)"/);
});

const picture = (name: string, detail: 'auto' | 'low' | 'high' = 'auto') => ({
  type: 'image_url' as const,
  image_url: { url: `data:image/png;base64,${base64(name)}`, detail },
});
const sound = (name: string) => ({
  type: 'input_audio' as const,
  input_audio: { data: base64(name), format: 'wav' as const },
});
const words = (text: string) => ({ type: 'text' as const, text });

type Content = ReturnType<typeof picture> | ReturnType<typeof sound> | ReturnType<typeof words>;
const ask = (...content: Content[]) => ({ model: 'nano', messages: [{ role: 'user' as const, content }] });

const rooms = ['kitchen', 'bedroom', 'living_room', 'garage'];
const setLight = {
  type: 'function' as const,
  function: {
    name: 'set_light',
    description: 'Switches the light in a room on or off.',
    parameters: {
      type: 'object',
      properties: { room: { $ref: '#/$defs/room' }, on: { type: 'boolean' } },
      required: ['room', 'on'],
      additionalProperties: false,
      $defs: { room: { enum: rooms } },
    },
  },
};
const getTemperature = {
  type: 'function' as const,
  function: {
    name: 'get_temperature',
    parameters: {
      type: 'object',
      properties: { room: { enum: rooms } },
      required: ['room'],
      additionalProperties: false,
    },
  },
};

test('lists its model, and knows it by name', async () => {
  const { data } = await client.models.list();
  expect(data).toEqual([{ id: 'nano', object: 'model', created: expect.any(Number), owned_by: 'hearth' }]);
  expect(await client.models.retrieve('nano')).toEqual(data[0]);
  await expect(client.models.retrieve('gpt-4o')).rejects.toThrow(NotFoundError);
});

test('says what is in a picture', async () => {
  const { choices, usage, model, object } = await client.chat.completions.create(
    ask(picture('000.png'), words('Describe the image.')),
  );
  expect([model, object]).toEqual(['nano', 'chat.completion']);
  expect(choices).toEqual([
    {
      index: 0,
      message: { role: 'assistant', content: 'A tree in the snow.', refusal: null },
      logprobs: null,
      finish_reason: 'stop',
    },
  ]);
  expect(usage?.prompt_tokens).toBeGreaterThan(256);
  expect(usage?.completion_tokens).toBe(6);
  expect(usage?.total_tokens).toBe((usage?.prompt_tokens ?? 0) + 6);

  // The same again needs no prefill but the last token.
  const again = await client.chat.completions.create(ask(picture('000.png'), words('Describe the image.')));
  expect(again.choices[0]?.message.content).toBe('A tree in the snow.');
  expect(again.usage?.prompt_tokens_details?.cached_tokens).toBe((usage?.prompt_tokens ?? 0) - 1);
});

test('writes down what is said, and takes a picture at the size of its detail', async () => {
  const heard = await client.chat.completions.create(ask(sound('038.wav'), words('Transcribe the audio.')));
  expect(heard.choices[0]?.message.content).toBe('Turn on the light in the bedroom.');
  const seen = await client.chat.completions.create(ask(picture('008.png', 'low'), words('Describe the image.')));
  expect(seen.choices[0]?.message.content).toBe('A horse at night.');
});

test('streams what it would have said at once, with the usage at the end where it is asked for', async () => {
  // A long reply: a short one may come in one piece.
  const schema = { type: 'array', items: { enum: ['tree', 'snow', 'bicycle'] }, minItems: 40, maxItems: 40 };
  const request = {
    ...ask(picture('001.png'), words('What is there?')),
    response_format: { type: 'json_schema' as const, json_schema: { name: 'things', schema } },
  };
  const whole = await client.chat.completions.create(request);
  const stream = await client.chat.completions.create({
    ...request,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant');
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(whole.choices[0]?.message.content);
  expect(chunks.length).toBeGreaterThan(4);
  expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
  expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
  expect(chunks.at(-1)?.choices).toEqual([]);
  expect(chunks.at(-1)?.usage?.completion_tokens).toBe(whole.usage?.completion_tokens);
  expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);

  const without = [];
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) without.push(chunk);
  expect(without.every((chunk) => chunk.choices.length === 1 && !('usage' in chunk))).toBe(true);
});

test('the reply fits the schema, and an object where only JSON is asked for', async () => {
  const schema = {
    type: 'object',
    properties: { what: { enum: ['tree', 'snow'] }, many: { type: 'integer', minimum: 3, maximum: 4 } },
    required: ['what', 'many'],
    additionalProperties: false,
  };
  const request = ask(picture('000.png'), words('What is there?'));
  const fitting = await client.chat.completions.create({
    ...request,
    response_format: { type: 'json_schema', json_schema: { name: 'scene', schema, strict: true } },
  });
  const value = JSON.parse(fitting.choices[0]?.message.content ?? '') as { what: string; many: number };
  expect(['tree', 'snow']).toContain(value.what);
  expect([3, 4]).toContain(value.many);
  expect(Object.keys(value)).toEqual(['what', 'many']);
  const free = await client.chat.completions.create({ ...request, response_format: { type: 'json_object' }, seed: 1 });
  expect(typeof JSON.parse(free.choices[0]?.message.content ?? '')).toBe('object');
});

test('calls a function where one fits, and writes where none does', async () => {
  const tools = [setLight, getTemperature];
  const called = await client.chat.completions.create({
    ...ask(words('Turn on the light in the kitchen.')),
    tools,
  });
  const [choice] = called.choices;
  expect(choice?.finish_reason).toBe('tool_calls');
  expect(choice?.message.content).toBeNull();
  const call = choice?.message.tool_calls?.[0];
  expect(call).toEqual({
    id: expect.stringMatching(/^call_/),
    type: 'function',
    function: { name: 'set_light', arguments: expect.any(String) },
  });
  const args = call?.type === 'function' ? call.function.arguments : '';
  expect(JSON.parse(args)).toEqual({ room: 'kitchen', on: true });

  const single = await client.chat.completions.create({
    ...ask(words('Turn on the light in the kitchen.')),
    tools,
    parallel_tool_calls: false,
  });
  expect(single.choices[0]?.message.tool_calls).toEqual([{ ...call, id: expect.stringMatching(/^call_/) }]);

  const spoken = await client.chat.completions.create({ ...ask(sound('027.wav')), tools });
  expect(spoken.choices[0]?.message.tool_calls?.[0]).toMatchObject({
    function: { name: 'get_temperature', arguments: '{"room":"garage"}' },
  });

  const plain = await client.chat.completions.create(ask(words('I am home.')));
  const none = await client.chat.completions.create({ ...ask(words('I am home.')), tools });
  expect(none.choices[0]).toEqual(plain.choices[0]);
  // Two jobs: whether to call, and what to say.
  expect(none.usage?.prompt_tokens).toBeGreaterThan(plain.usage?.prompt_tokens ?? 0);

  const forced = await client.chat.completions.create({
    ...ask(words('I am home.')),
    tools,
    tool_choice: { type: 'function', function: { name: 'get_temperature' } },
  });
  expect(forced.choices[0]?.message.tool_calls?.[0]).toMatchObject({ function: { name: 'get_temperature' } });
  const off = await client.chat.completions.create({
    ...ask(words('Turn on the light in the kitchen.')),
    tools,
    tool_choice: 'none',
  });
  expect(off.choices[0]?.message.tool_calls).toBeUndefined();
});

test('streams a call, and takes its result back into the conversation', async () => {
  const first = ask(words('Turn on the light in the kitchen.'));
  const runner = client.chat.completions.stream({ ...first, tools: [setLight] });
  const { choices } = await runner.finalChatCompletion();
  const message = choices[0]?.message;
  expect(choices[0]?.finish_reason).toBe('tool_calls');
  const call = message?.tool_calls?.[0];
  expect(call).toMatchObject({ function: { name: 'set_light', arguments: '{"room":"kitchen","on":true}' } });

  const next = await client.chat.completions.create({
    model: 'nano',
    messages: [
      ...first.messages,
      { role: 'assistant', content: null, tool_calls: message?.tool_calls ?? [] },
      { role: 'tool', tool_call_id: call?.id ?? '', content: 'The light is on.' },
    ],
    tools: [setLight],
    tool_choice: 'none',
    max_tokens: 20,
  });
  expect(next.choices[0]?.message.content).not.toBe('');
  expect(next.usage?.prompt_tokens).toBeGreaterThan(40);
});

test('stops where it should, and where the limit is', async () => {
  const request = ask(picture('000.png'), words('Describe the image.'));
  const short = await client.chat.completions.create({ ...request, max_completion_tokens: 2 });
  expect(short.choices[0]).toMatchObject({ finish_reason: 'length' });
  expect(short.usage?.completion_tokens).toBe(2);
  const stopped = await client.chat.completions.create({ ...request, stop: [' snow'] });
  expect(stopped.choices[0]).toMatchObject({ finish_reason: 'stop', message: { content: 'A tree in the' } });
});

describe('transcriptions', () => {
  test('of a file, as JSON, as text and with all there is to say', async () => {
    const file = () => createReadStream(media('038.wav'));
    const text = 'Turn on the light in the bedroom.';
    expect(await client.audio.transcriptions.create({ file: file(), model: 'nano' })).toMatchObject({ text });
    expect(
      await client.audio.transcriptions.create({ file: file(), model: 'whisper-1', response_format: 'text' }),
    ).toBe(`${text}\n`);
    const verbose = await client.audio.transcriptions.create({
      file: file(),
      model: 'whisper-1',
      response_format: 'verbose_json',
      language: 'en',
    });
    expect(verbose).toMatchObject({ text, language: 'en', segments: [{ id: 0, start: 0, text }] });
    expect(verbose.duration).toBeCloseTo(verbose.segments?.[0]?.end ?? 0);
  });

  test('as a stream', async () => {
    const stream = await client.audio.transcriptions.create({
      file: await toFile(readFileSync(media('007.wav')), 'home.wav'),
      model: 'nano',
      stream: true,
    });
    const events = [];
    for await (const event of stream) events.push(event);
    expect(events.at(-1)).toEqual({
      type: 'transcript.text.done',
      text: 'I am home.',
      usage: expect.objectContaining({ output_tokens: 4 }),
    });
    const deltas = events.slice(0, -1).map((event) => (event.type === 'transcript.text.delta' ? event.delta : '?'));
    expect(deltas.join('')).toBe('I am home.');
  });

  test('of what is no WAV are refused', async () => {
    const refused = client.audio.transcriptions.create({ file: createReadStream(media('000.png')), model: 'nano' });
    await expect(refused).rejects.toMatchObject({ status: 400, code: 'MEDIA_NOT_A_WAV' });
    const nothing = fetch(`${hearthd.url}/v1/audio/transcriptions`, { method: 'POST', body: new FormData() });
    expect((await nothing).status).toBe(400);
  });
});

describe('what is wrong is said as OpenAI says it, with a code of ours', () => {
  const fine = ask(words('Hello'));
  test.each([
    ['another model', { ...fine, model: 'gpt-4o' }, 404, 'MODEL_UNKNOWN', 'expected nano'],
    ['no messages', { model: 'nano', messages: [] }, 400, 'REQUEST_INVALID', 'body.messages'],
    ['a role of nobody', { ...fine, messages: [{ role: 'dog', content: 'x' }] }, 400, 'REQUEST_INVALID', 'assistant'],
    ['no turn of a user', { ...fine, messages: [{ role: 'assistant', content: 'x' }] }, 400, 'PROMPT_INVALID', 'user'],
    ['two replies', { ...fine, n: 2 }, 400, 'REQUEST_INVALID', 'body.n'],
    ['log probabilities', { ...fine, logprobs: true }, 400, 'REQUEST_INVALID', 'body.logprobs'],
    ['a number as text', { ...fine, temperature: '1' }, 400, 'REQUEST_INVALID', 'body.temperature'],
    [
      'a picture from elsewhere',
      ask({ type: 'image_url', image_url: { url: 'http://127.0.0.1:1/x.png', detail: 'auto' } }),
      400,
      'REQUEST_INVALID',
      'not fetched',
    ],
    [
      'a broken picture',
      ask({ type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=', detail: 'auto' } }),
      400,
      'MEDIA_BROKEN_IMAGE',
      'png',
    ],
    [
      'sound that is none',
      ask({ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }),
      400,
      'MEDIA_NOT_A_WAV',
      'RIFF',
    ],
    [
      'a part of an unknown kind',
      { ...fine, messages: [{ role: 'user', content: [{ type: 'file' }] }] },
      400,
      'REQUEST_INVALID',
      'input_audio',
    ],
    [
      'a schema nothing can fit',
      {
        ...fine,
        response_format: {
          type: 'json_schema',
          json_schema: { name: 'x', schema: { type: 'string', format: 'nonsense-of-mine' } },
        },
      },
      400,
      'SCHEMA_INVALID',
      'format',
    ],
    [
      'a tool without a name',
      { ...fine, tools: [{ type: 'function', function: {} }] },
      400,
      'REQUEST_INVALID',
      'tools[0].function.name',
    ],
    [
      'a choice of no tool',
      { ...fine, tools: [setLight], tool_choice: { type: 'function', function: { name: 'x' } } },
      400,
      'REQUEST_INVALID',
      'tool_choice',
    ],
    ['more than any context', ask(words('x'.repeat(200_000))), 400, 'CONTEXT_FULL', '200000 characters'],
    ['more than the context', ask(words('x'.repeat(50_000))), 400, 'CONTEXT_FULL', 'does not fit'],
  ])('%s', async (_what, request, status, code, part) => {
    const error: unknown = await client.chat.completions.create(request as never).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ status, code, type: 'invalid_request_error' });
    expect((error as APIError).message).toContain(part);
    // Before anything was streamed, an error is a status.
    await expect(client.chat.completions.create({ ...request, stream: true } as never)).rejects.toMatchObject({
      status,
    });
  });

  test('nesting without end, and paths that lead nowhere', async () => {
    const deep = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;
    const response = await fetch(`${hearthd.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"messages":[{"role":"user","content":"x"}],"metadata":${deep}}`,
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'REQUEST_BAD_JSON' } });
    await expect(client.embeddings.create({ model: 'nano', input: 'x' })).rejects.toThrow(NotFoundError);
    await expect(client.post('/chat/completions', { body: null })).rejects.toThrow(BadRequestError);
  });
});
