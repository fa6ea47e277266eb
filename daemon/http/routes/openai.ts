/** The front door for programs that speak OpenAI's interface: models and chat completions. */
import type { FastifyInstance } from 'fastify';
import { ulid } from 'ulid';
import { type CompletionEvent, collect, complete, type Usage } from '../completion';
import { type HttpContext, termsOf } from '../context';
import { modelFor, modelId } from '../models';
import { type ChatBody, chatBodySchema, chatOf, finishReasons, toolCallBody, usageBody } from '../openai-chat';
import { shapeFor } from '../status';
import { eventStream, sendStream, sse } from '../stream';

const seconds = (milliseconds: number): number => Math.floor(milliseconds / 1000);

interface Head {
  readonly id: string;
  readonly created: number;
  readonly model: string;
}

/** Chunks of a chat completion, the last of them `[DONE]`. */
async function* chunks(
  events: AsyncIterable<CompletionEvent>,
  head: Head,
  withUsage: boolean,
): AsyncGenerator<string, void> {
  const chunk = (delta: object, finish: string | null): string =>
    sse({
      ...head,
      object: 'chat.completion.chunk',
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...(withUsage && { usage: null }),
    });
  let usage: Usage | undefined;
  let calls = 0;
  let begun = false;
  for await (const event of events) {
    const opening = begun ? {} : { role: 'assistant' };
    begun = true;
    switch (event.type) {
      case 'text':
        yield chunk({ ...opening, content: event.text }, null);
        break;
      case 'call':
        yield chunk(
          { ...opening, content: null, tool_calls: [{ index: calls++, ...toolCallBody(event.call, ulid()) }] },
          null,
        );
        break;
      case 'end':
        usage = event.usage;
        yield chunk(opening, finishReasons[event.finishReason]);
        break;
    }
  }
  if (withUsage && usage !== undefined)
    yield sse({ ...head, object: 'chat.completion.chunk', choices: [], usage: usageBody(usage) });
  yield sse('[DONE]');
}

export function openAiRoutes(app: FastifyInstance, context: HttpContext): void {
  const { jobs, model, modelFile, maxAudioSeconds } = context;

  const describe = (id: string) => ({
    id,
    object: 'model',
    created: seconds(modelFile().modifiedMs),
    owned_by: 'hearth',
  });

  app.get('/v1/models', () => {
    const info = model();
    return { object: 'list', data: info === undefined ? [] : [describe(modelId(info))] };
  });

  app.get<{ Params: { id: string } }>('/v1/models/:id', ({ params }) => {
    modelFor(context, params.id);
    return describe(params.id);
  });

  app.post<{ Body: ChatBody }>('/v1/chat/completions', { schema: { body: chatBodySchema } }, async (request, reply) => {
    const { body } = request;
    const terms = termsOf(request, reply);
    const { info, slice } = modelFor(context, body.model);
    const chat = await chatOf(body, info, slice, maxAudioSeconds);
    const events = complete(chat, info, jobs, terms);
    const head: Head = {
      id: `chatcmpl-${ulid()}`,
      created: seconds(Date.now()),
      model: body.model ?? modelId(info),
    };
    if (body.stream === true) {
      const withUsage = body.stream_options?.include_usage === true;
      return await sendStream(reply, eventStream, chunks(events, head, withUsage), (error) =>
        sse(shapeFor('/v1')(error)),
      );
    }
    const { text, calls, end } = await collect(events);
    return {
      ...head,
      object: 'chat.completion',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: calls.length > 0 ? null : text,
            refusal: null,
            ...(calls.length > 0 && { tool_calls: calls.map((call) => toolCallBody(call, ulid())) }),
          },
          logprobs: null,
          finish_reason: finishReasons[end.finishReason],
        },
      ],
      usage: usageBody(end.usage),
    };
  });
}
