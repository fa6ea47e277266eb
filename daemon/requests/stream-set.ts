/** The request verb `stream/set`: changes how often a camera is looked at while the daemon runs; forgotten when it ends. */
import Ajv from 'ajv';
import type { Request } from '../bus/bus';
import { HearthError } from '../errors';
import type { CameraOptions } from '../streams/camera-stream';
import type { Streams } from '../streams/streams';

interface StreamSetPayload {
  readonly stream: string;
  readonly minIntervalMs?: number;
  readonly duplicateThreshold?: number;
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
  },
});

/** What is in force for the camera afterwards. Rejects with `REQUEST_INVALID`, `STREAM_NAME_INVALID` or `STREAM_LIMIT`. */
export function setStream(streams: Pick<Streams, 'configureCamera'>, { payload }: Request): CameraOptions {
  if (!isPayload(payload)) {
    const problems = (isPayload.errors ?? [])
      .slice(0, 5)
      .map((error) => `${error.instancePath || 'payload'} ${error.message ?? 'does not fit'}`);
    throw new HearthError('REQUEST_INVALID', `stream/set: ${problems.join('; ')}`);
  }
  const { stream, minIntervalMs, duplicateThreshold } = payload;
  return streams.configureCamera(stream, {
    ...(minIntervalMs !== undefined && { minIntervalMs }),
    ...(duplicateThreshold !== undefined && { duplicateThreshold }),
  });
}
