import { joinParts, joinTurns } from '../../../daemon/http/chat';
import { chatOf as ollamaChatOf, statistics } from '../../../daemon/http/ollama-chat';
import { type ChatBody, chatOf } from '../../../daemon/http/openai-chat';
import type { Message, ModelInfo, Part } from '../../../daemon/inference/types';

const say = (text: string): Part => ({ type: 'text', text });
const image: Part = { type: 'image', image: { width: 1, height: 1, data: new Uint8Array(3) } };
const info = { imageSizes: [256, 512, 768] } as unknown as ModelInfo;
const png =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

test('text next to text is one part with a line between; empty text goes', () => {
  expect(joinParts([say('a'), say(''), say('b'), image, say('c')])).toEqual([say('a\n\nb'), image, say('c')]);
  expect(joinParts([])).toEqual([say('')]);
});

test('turns alternate, system messages are one and come first', () => {
  const messages: Message[] = [
    { role: 'user', parts: [say('1')] },
    { role: 'system', parts: [say('s')] },
    { role: 'user', parts: [image, say('2')] },
    { role: 'model', parts: [say('3')] },
    { role: 'system', parts: [say('t')] },
  ];
  expect(joinTurns(messages)).toEqual([
    { role: 'system', parts: [say('s\n\nt')] },
    { role: 'user', parts: [say('1'), image, say('2')] },
    { role: 'model', parts: [say('3')] },
  ]);
});

test('a conversation with calls and results, as OpenAI tells it and as the model reads it', async () => {
  const body: ChatBody = {
    messages: [
      { role: 'developer', content: 'Be a house.' },
      { role: 'user', content: [{ type: 'text', text: 'Light!' }] },
      {
        role: 'assistant',
        content: null,
        tool_calls: [{ id: 'c1', function: { name: 'set_light', arguments: '{ "on": true }' } }],
      },
      { role: 'tool', tool_call_id: 'c1', content: 'done' },
      { role: 'user', content: 'And?' },
    ],
    temperature: 0.5,
    top_p: null,
    seed: 3,
    stop: 'x',
    max_tokens: 7,
  };
  const chat = await chatOf(body, info, 'half', 30);
  expect(chat).toEqual({
    messages: [
      { role: 'system', parts: [say('Be a house.')] },
      { role: 'user', parts: [say('Light!')] },
      { role: 'model', parts: [say('{"name":"set_light","arguments":{"on":true}}')] },
      { role: 'user', parts: [say('Result of set_light: done\n\nAnd?')] },
    ],
    sampling: { temperature: 0.5, seed: 3 },
    stop: ['x'],
    maxTokens: 7,
    slice: 'half',
  });
});

test('the most detail asked for decides the size of all pictures; none leaves it to the governor', async () => {
  const sizeFor = async (...details: (string | undefined)[]) =>
    (
      await chatOf(
        {
          messages: [
            {
              role: 'user',
              content: details.map((detail) => ({ type: 'image_url', image_url: { url: png, detail } })),
            },
          ],
        },
        info,
        undefined,
        30,
      )
    ).imageSize;
  expect(await sizeFor('low', 'auto')).toBe(256);
  expect(await sizeFor('low', 'high')).toBe(768);
  expect(await sizeFor('auto', undefined)).toBeUndefined();
});

test.each([
  [{ messages: [{ role: 'assistant', content: [{ type: 'image_url', image_url: { url: png } }] }] }, 'messages[0]'],
  [
    { messages: [{ role: 'user', content: Array(33).fill({ type: 'image_url', image_url: { url: png } }) }] },
    'at most 32',
  ],
  [
    { messages: [{ role: 'assistant', tool_calls: [{ id: 'x', function: { name: 'f', arguments: '[1]' } }] }] },
    'arguments',
  ],
  [
    { messages: [{ role: 'assistant', tool_calls: [{ id: 'x', function: { name: 'f', arguments: '{' } }] }] },
    'arguments',
  ],
  [{ messages: [{ role: 'user', content: [{ type: 'text', text: 5 }] }] }, 'content[0].text'],
  [{ messages: [{ role: 'user', content: [{ type: 'input_audio' }] }] }, 'input_audio'],
  [{ messages: [], response_format: { type: 'xml' } }, 'response_format.type'],
  [{ messages: [], response_format: { type: 'json_schema' } }, 'response_format.json_schema.schema'],
])('%j is refused', async (body, part) => {
  await expect(chatOf(body as unknown as ChatBody, info, undefined, 30)).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
    message: expect.stringContaining(part),
  });
});

test('what Ollama calls options, and its conversations', async () => {
  const chat = await ollamaChatOf(
    {
      model: 'nano',
      messages: [
        { role: 'system', content: 'Be a house.' },
        { role: 'user', content: 'Light!' },
        { role: 'assistant', content: '', tool_calls: [{ function: { name: 'f', arguments: { a: 1 } } }] },
        { role: 'tool', tool_name: 'f', content: '5' },
      ],
      options: { temperature: 1, top_k: 4, num_predict: -1, stop: ['a', 'b'] },
      format: { type: 'object' },
    },
    undefined,
  );
  expect(chat).toEqual({
    messages: [
      { role: 'system', parts: [say('Be a house.')] },
      { role: 'user', parts: [say('Light!')] },
      { role: 'model', parts: [say('{"name":"f","arguments":{"a":1}}')] },
      { role: 'user', parts: [say('Result of f: 5')] },
    ],
    sampling: { temperature: 1, topK: 4 },
    stop: ['a', 'b'],
    schema: { type: 'object' },
  });
  const usage = { promptTokens: 5, completionTokens: 2, cachedTokens: 1, promptMs: 3, decodeMs: 1.5, totalMs: 5 };
  expect(statistics(usage, 6)).toEqual({
    total_duration: 6_000_000,
    load_duration: 0,
    prompt_eval_count: 5,
    prompt_eval_duration: 3_000_000,
    eval_count: 2,
    eval_duration: 1_500_000,
  });
});

test('several calls at a time are taken unless a client says that it takes one', async () => {
  const tools = [{ type: 'function', function: { name: 'f' } }];
  const limitOf = async (more: Partial<ChatBody>) =>
    (await chatOf({ messages: [{ role: 'user', content: 'x' }], tools, ...more }, info, undefined, 30)).tools?.maxCalls;
  expect(await limitOf({})).toBe(8);
  expect(await limitOf({ parallel_tool_calls: null })).toBe(8);
  expect(await limitOf({ parallel_tool_calls: true })).toBe(8);
  expect(await limitOf({ parallel_tool_calls: false, tool_choice: 'required' })).toBe(1);
});
