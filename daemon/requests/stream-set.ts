/** The request verb `stream/set`: switches a stream, or changes how often a camera is looked at; forgotten when the daemon ends. */
import Ajv from 'ajv';
import type { Request } from '../bus/bus';
import { HearthError } from '../errors';
import type { CameraOptions } from '../streams/camera-stream';
import type { Streams } from '../streams/streams';

interface StreamSetPayload {
  readonly stream: string;
  readonly minIntervalMs?: number;
  readonly duplicateThreshold?: number;
  readonly enabled?: boolean;
}

const isPayload = new Ajv({ allErrors: true }).compile<StreamSetPayload>({
  type: 'object',
  required: ['stream'],
  additionalProperties: false,
  minProperties: 2,
  properties: {
    id: {},
    stream: { type: 'string' },
    minIntervalMs: { type: 'integer', minimum: 0, maximum: 3_600_000 },
    duplicateThreshold: { type: 'number', minimum: 0, maximum: 255 },
    enabled: { type: 'boolean' },
  },
});

/** What is in force for the stream afterwards. Rejects with `REQUEST_INVALID`, `STREAM_NAME_INVALID` or `STREAM_LIMIT`. */
export function setStream(
  streams: Pick<Streams, 'configureCamera' | 'setEnabled' | 'isEnabled'>,
  { payload }: Request,
): CameraOptions & { readonly enabled: boolean } {
  if (!isPayload(payload)) {
    const problems = (isPayload.errors ?? [])
      .slice(0, 5)
      .map((error) => `${error.instancePath || 'payload'} ${error.message ?? 'does not fit'}`);
    throw new HearthError('REQUEST_INVALID', `stream/set: ${problems.join('; ')}`);
  }
  const { stream, minIntervalMs, duplicateThreshold, enabled } = payload;
  const camera = streams.configureCamera(stream, {
    ...(minIntervalMs !== undefined && { minIntervalMs }),
    ...(duplicateThreshold !== undefined && { duplicateThreshold }),
  });
  if (enabled !== undefined) streams.setEnabled(stream, enabled);
  return { ...camera, enabled: streams.isEnabled(stream) };
}
