/** The front door for programs that speak Ollama's interface. */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { FunctionCall } from '../../calls';
import type { ModelInfo } from '../../inference/types';
import type { InstalledModel } from '../../models/model-store';
import { version } from '../../version';
import type { Chat } from '../chat';
import { type CompletionEvent, collect, complete } from '../completion';
import { type HttpContext, termsOf } from '../context';
import { modelDigest, modelFor, modelId } from '../models';
import {
  chatOf,
  type OllamaChatBody,
  type OllamaGenerateBody,
  ollamaChatSchema,
  ollamaGenerateSchema,
  ollamaShowSchema,
  promptOf,
  statistics,
} from '../ollama-chat';
import { shapeFor } from '../status';
import { jsonLine, jsonLines, sendStream } from '../stream';
import { pullRoute } from './ollama-pull';

/** The version of Ollama's interface that is spoken: some clients ask for a version and refuse older ones. */
const interfaceVersion = '0.9.0';

/** How a piece of the reply is put: `message` in a chat, `response` otherwise. */
type Wording = (text: string, calls?: readonly FunctionCall[]) => Readonly<Record<string, unknown>>;

const inChat: Wording = (text, calls = []) => ({
  message: {
    role: 'assistant',
    content: text,
    ...(calls.length > 0 && {
      tool_calls: calls.map(({ name, arguments: args }) => ({ function: { name, arguments: args } })),
    }),
  },
});

const alone: Wording = (text) => ({ response: text });

const parameterSize = (parameters: number): string =>
  parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)}B` : `${(parameters / 1e6).toFixed(1)}M`;

/** One that is not loaded: what is in it is not known. */
const listedByName = ({ name, key, sizeBytes, installedMs }: InstalledModel) => ({
  name: `${name}:latest`,
  model: `${name}:latest`,
  modified_at: new Date(installedMs).toISOString(),
  size: sizeBytes,
  digest: key,
  details: { parent_model: '', format: 'gguf', family: 'gemma3n', families: ['gemma3n'] },
});

export function ollamaRoutes(app: FastifyInstance, context: HttpContext): void {
  const { jobs, model, modelFile, models } = context;

  // What curl says of a body unless it is told otherwise; it is JSON all the same. A web page may say so, too, without
  // asking first, but not without an Origin.
  const parseJson = app.getDefaultJsonParser('error', 'error');
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, parseJson);

  const details = (info: ModelInfo) => ({
    parent_model: '',
    format: 'gguf',
    family: info.architecture,
    families: [info.architecture],
    parameter_size: parameterSize(info.parameters),
    quantization_level: 'unknown',
  });

  const listed = (info: ModelInfo) => ({
    name: `${modelId(info)}:latest`,
    model: `${modelId(info)}:latest`,
    modified_at: new Date(modelFile().modifiedMs).toISOString(),
    size: modelFile().sizeBytes,
    digest: modelDigest(info, modelFile()),
    details: details(info),
  });

  app.get('/api/version', () => ({ version: interfaceVersion, hearth: version }));

  app.get('/api/tags', () => {
    const info = model();
    const others = (models?.installed() ?? []).filter(({ name }) => name !== models?.inUse());
    return { models: [...(info === undefined ? [] : [listed(info)]), ...others.map(listedByName)] };
  });

  if (models !== undefined) pullRoute(app, models);

  app.get('/api/ps', () => {
    const info = model();
    // It stays loaded for as long as the daemon runs.
    const running = (loaded: ModelInfo) => ({ ...listed(loaded), expires_at: '9999-12-31T23:59:59Z', size_vram: 0 });
    return { models: info === undefined ? [] : [running(info)] };
  });

  app.post<{ Body: { model?: string; name?: string } }>(
    '/api/show',
    { schema: { body: ollamaShowSchema } },
    ({ body }) => {
      const { info } = modelFor(context, body.model ?? body.name);
      const { architecture } = info;
      return {
        modelfile: '',
        parameters: '',
        template: '',
        details: details(info),
        model_info: {
          'general.architecture': architecture,
          'general.basename': info.name,
          'general.parameter_count': info.parameters,
          [`${architecture}.context_length`]: info.contextLength,
          [`${architecture}.block_count`]: info.layers,
        },
        capabilities: [
          'completion',
          'tools',
          ...(info.modalities.includes('image') ? ['vision'] : []),
          ...(info.modalities.includes('audio') ? ['audio'] : []),
        ],
        modified_at: new Date(modelFile().modifiedMs).toISOString(),
      };
    },
  );

  const answer = async (
    request: FastifyRequest<{ Body: OllamaChatBody | OllamaGenerateBody }>,
    reply: FastifyReply,
    wording: Wording,
    chatFor: (slice: string | undefined) => Promise<Chat> | undefined,
  ): Promise<unknown> => {
    const began = performance.now();
    const { body } = request;
    const terms = termsOf(request, reply);
    const { info, slice } = modelFor(context, body.model);
    const head = () => ({ model: body.model, created_at: new Date().toISOString() });
    const chat = await chatFor(slice);
    // Asked nothing, Ollama loads the model. It is loaded.
    if (chat === undefined) return { ...head(), ...wording(''), done: true, done_reason: 'load' };
    const events = complete(chat, info, jobs, terms);
    const last = ({ finishReason, usage }: Extract<CompletionEvent, { type: 'end' }>) => ({
      done: true,
      done_reason: finishReason === 'length' ? 'length' : 'stop',
      ...statistics(usage, performance.now() - began),
    });
    if (body.stream === false) {
      const { text, calls, end } = await collect(events);
      return { ...head(), ...wording(text, calls), ...last(end) };
    }
    const lines = async function* (): AsyncGenerator<string, void> {
      for await (const event of events) {
        if (event.type === 'text') yield jsonLine({ ...head(), ...wording(event.text), done: false });
        else if (event.type === 'call') yield jsonLine({ ...head(), ...wording('', [event.call]), done: false });
        else yield jsonLine({ ...head(), ...wording(''), ...last(event) });
      }
    };
    return await sendStream(reply, jsonLines, lines(), (error) => jsonLine(shapeFor('/api')(error)));
  };

  app.post<{ Body: OllamaChatBody }>('/api/chat', { schema: { body: ollamaChatSchema } }, async (request, reply) => {
    const { body } = request;
    return await answer(request, reply, inChat, (slice) =>
      (body.messages ?? []).length === 0 ? undefined : chatOf(body, slice),
    );
  });

  app.post<{ Body: OllamaGenerateBody }>(
    '/api/generate',
    { schema: { body: ollamaGenerateSchema } },
    async (request, reply) => {
      const { body } = request;
      const nothing = (body.prompt ?? '') === '' && (body.images ?? []).length === 0;
      return await answer(request, reply, alone, (slice) => (nothing ? undefined : promptOf(body, slice)));
    },
  );
}
