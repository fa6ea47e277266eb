/** `/v1/audio/transcriptions`: a WAV in a form, what is said in it back. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { HearthError } from '../../errors';
import { toModelRate } from '../../media/resample';
import { modelSampleRate } from '../../media/sample-rate';
import { decodeWav } from '../../media/wav';
import { transcription } from '../../requests/transcribe';
import { type CompletionEvent, collect, complete, type Usage } from '../completion';
import { type HttpContext, termsOf } from '../context';
import { resolveModel } from '../models';
import { shapeFor } from '../status';
import { eventStream, sendStream, sse } from '../stream';

const formats = ['json', 'text', 'verbose_json'] as const;
type Format = (typeof formats)[number];

interface Form {
  readonly file: Buffer;
  readonly fields: Readonly<Record<string, string>>;
}

async function formOf(request: FastifyRequest): Promise<Form> {
  if (!request.isMultipart()) {
    throw new HearthError('REQUEST_INVALID', 'transcription: expected multipart/form-data with a file');
  }
  let file: Buffer | undefined;
  const fields: Record<string, string> = Object.create(null) as Record<string, string>;
  for await (const part of request.parts()) {
    if (part.type === 'field') fields[part.fieldname] = String(part.value);
    else if (part.fieldname === 'file') file = await part.toBuffer();
    else throw new HearthError('REQUEST_INVALID', 'transcription: expected one file, named "file"');
  }
  if (file === undefined) throw new HearthError('REQUEST_INVALID', 'file: expected a WAV, received none');
  return { file, fields };
}

function formatOf(given: string | undefined): Format {
  const format = formats.find((known) => known === (given ?? 'json'));
  if (format !== undefined) return format;
  throw new HearthError('REQUEST_INVALID', `response_format: expected one of ${formats.join(', ')}`);
}

function usageBody({ promptTokens: input, completionTokens: output }: Usage) {
  return { type: 'tokens', input_tokens: input, output_tokens: output, total_tokens: input + output };
}

async function* events(running: AsyncIterable<CompletionEvent>): AsyncGenerator<string, void> {
  let text = '';
  for await (const event of running) {
    if (event.type === 'text') {
      text += event.text;
      yield sse({ type: 'transcript.text.delta', delta: event.text });
    } else if (event.type === 'end') {
      yield sse({ type: 'transcript.text.done', text, usage: usageBody(event.usage) });
    }
  }
}

export function transcriptionRoutes(app: FastifyInstance, context: HttpContext): void {
  const { jobs, model, maxAudioSeconds } = context;

  app.post('/v1/audio/transcriptions', async (request, reply) => {
    const terms = termsOf(request, reply);
    const { file, fields } = await formOf(request);
    const format = formatOf(fields['response_format']);
    // Programs that know one transcriber ask for it by this name.
    const wanted = fields['model'] === 'whisper-1' ? undefined : fields['model'];
    const { info } = resolveModel(wanted, model());
    if (!info.modalities.includes('audio')) throw new HearthError('MODEL_UNSUPPORTED', 'the model takes no sound');
    const recording = await toModelRate(decodeWav(file, maxAudioSeconds * 1000));
    const running = complete(transcription(recording, info), info, jobs, terms);
    if (fields['stream'] === 'true')
      return await sendStream(reply, eventStream, events(running), (error) => sse(shapeFor('/v1')(error)));

    const { text: said, end } = await collect(running);
    const text = said.trim();
    const usage = usageBody(end.usage);
    if (format === 'text') return reply.type('text/plain; charset=utf-8').send(`${text}\n`);
    if (format === 'json') return { text, usage };
    const duration = recording.samples.length / modelSampleRate;
    return {
      task: 'transcribe',
      language: fields['language'] ?? 'unknown',
      duration,
      text,
      segments: [{ id: 0, start: 0, end: duration, text }],
      usage,
    };
  });
}
