import { Subject } from 'rxjs';
import { HearthError } from '../../../daemon/errors';
import type { Chat } from '../../../daemon/http/chat';
import { type CompletionEvent, collect, complete } from '../../../daemon/http/completion';
import type { Engine } from '../../../daemon/inference/engine';
import type {
  EngineState,
  GenerateOptions,
  GenerateRequest,
  GenerateResult,
  ModelInfo,
} from '../../../daemon/inference/types';
import { RequestJobs } from '../../../daemon/requests/jobs';
import { JobQueue } from '../../../daemon/streams/job-queue';

const info = {
  contextLength: 512,
  prompts: { call: 'CALL {text}', calls: 'CALLS {max} {text}' },
} as unknown as ModelInfo;

/** Says what it is told to, job by job. */
class Script implements Engine {
  readonly state$ = new Subject<EngineState>();
  readonly asked: GenerateRequest[] = [];
  readonly options: GenerateOptions[] = [];

  constructor(
    private readonly replies: (readonly string[] | HearthError)[],
    private readonly finish: 'stop' | 'length' = 'stop',
  ) {}

  async generate(request: GenerateRequest, options: GenerateOptions = {}): Promise<GenerateResult> {
    this.asked.push(request);
    this.options.push(options);
    const reply = this.replies.shift() ?? [];
    if (reply instanceof HearthError) throw reply;
    for (const piece of reply) {
      options.onText?.(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return {
      text: reply.join(''),
      finishReason: this.finish,
      tokens: { prompt: 10, completion: reply.length, cached: 4 },
      timings: { encode: 1, prefill: 2, decode: 3, waiting: 4, firstToken: 5, total: 10 },
      slice: 'full',
    };
  }

  listen(): never {
    throw new Error('nothing is spoken here');
  }

  watch(): never {
    throw new Error('nothing is filmed here');
  }

  async close(): Promise<void> {}
}

const jobsOf = (engine: Engine): RequestJobs =>
  new RequestJobs({ engine, queue: new JobQueue({ capacity: 4 }), defaultPriority: 4, defaultDeadlineMs: 1000 });
const chat: Chat = {
  messages: [{ role: 'user', parts: [{ type: 'text', text: 'Hi' }] }],
  sampling: { temperature: 1 },
};
const tools = { functions: [{ name: 'f', parameters: { type: 'object' } }], required: false, maxCalls: 1 };

async function eventsOf(engine: Engine, of: Chat): Promise<CompletionEvent[]> {
  const events: CompletionEvent[] = [];
  for await (const event of complete(of, info, jobsOf(engine), {})) events.push(event);
  return events;
}

test('pieces come as they are made, and the end with what it took', async () => {
  const engine = new Script([['Hel', 'lo', '.']]);
  const events = await eventsOf(engine, chat);
  expect(events.map((event) => (event.type === 'text' ? event.text : event.type))).toEqual(['Hel', 'lo', '.', 'end']);
  expect(events.at(-1)).toEqual({
    type: 'end',
    finishReason: 'stop',
    usage: { promptTokens: 10, completionTokens: 3, cachedTokens: 4, promptMs: 3, decodeMs: 3, totalMs: 10 },
    slice: 'full',
  });
  expect(engine.asked).toEqual([{ messages: chat.messages, sampling: { temperature: 1 }, maxTokens: 512 }]);
  expect(engine.options[0]).toMatchObject({ priority: 4 });
});

test('with tools, a call is asked for first; what comes before the last turn stays as it is', async () => {
  const media = { type: 'image' as const, image: { width: 1, height: 1, data: new Uint8Array(3) } };
  const messages: Chat['messages'] = [
    { role: 'user', parts: [{ type: 'text', text: 'One' }] },
    { role: 'model', parts: [{ type: 'text', text: 'Two' }] },
    { role: 'user', parts: [media, { type: 'text', text: 'Three' }] },
  ];
  const engine = new Script([['{"name":"f","arguments":{"a":1}}']]);
  const { text, calls, end } = await collect(complete({ ...chat, messages, tools }, info, jobsOf(engine), {}));
  expect([text, calls, end.finishReason]).toEqual(['', [{ name: 'f', arguments: { a: 1 } }], 'call']);
  expect(engine.asked).toHaveLength(1);
  expect(engine.asked[0]?.messages).toEqual([
    ...messages.slice(0, 2),
    { role: 'user', parts: [media, { type: 'text', text: 'CALL Three' }] },
  ]);
  expect(engine.asked[0]).toMatchObject({ sampling: { temperature: 0 }, schema: { anyOf: [{}, { type: 'null' }] } });
});

test('several calls in one reply come one after the other', async () => {
  const engine = new Script([['[{"name":"f","arguments":{"a":1}},{"name":"f","arguments":{"a":2}}]']]);
  const { text, calls, end } = await collect(
    complete({ ...chat, tools: { ...tools, maxCalls: 2 } }, info, jobsOf(engine), {}),
  );
  expect([text, calls, end.finishReason]).toEqual([
    '',
    [
      { name: 'f', arguments: { a: 1 } },
      { name: 'f', arguments: { a: 2 } },
    ],
    'call',
  ]);
  expect(engine.asked[0]?.schema).toMatchObject({ anyOf: [{}, { type: 'null' }, { type: 'array', maxItems: 2 }] });
  expect(engine.asked[0]?.messages[0]?.parts).toEqual([{ type: 'text', text: expect.stringMatching(/^CALLS 2 /) }]);
});

test('no call: the chat as it is, and the tokens of both', async () => {
  const engine = new Script([['null'], ['Hello', '.']]);
  const { text, calls, end } = await collect(complete({ ...chat, tools }, info, jobsOf(engine), {}));
  expect([text, calls, end.finishReason]).toEqual(['Hello.', [], 'stop']);
  expect(end.usage).toMatchObject({ promptTokens: 20, completionTokens: 3 });
  expect(engine.asked[1]).toEqual({ messages: chat.messages, sampling: { temperature: 1 }, maxTokens: 512 });
});

test('a call that was cut off is no call', async () => {
  const engine = new Script([['{"name":"f","argu']], 'length');
  const { text, calls, end } = await collect(complete({ ...chat, tools, maxTokens: 3 }, info, jobsOf(engine), {}));
  expect([text, calls, end.finishReason]).toEqual(['', [], 'length']);
});

test('a job that fails rejects; one that is cancelled ends the waiting', async () => {
  const engine = new Script([new HearthError('CONTEXT_FULL', 'full')]);
  await expect(eventsOf(engine, chat)).rejects.toMatchObject({ code: 'CONTEXT_FULL' });
  const abort = new AbortController();
  abort.abort();
  const events = complete(chat, info, jobsOf(new Script([['x']])), { signal: abort.signal });
  await expect(events.next()).rejects.toMatchObject({ code: 'ENGINE_CANCELLED' });
});
