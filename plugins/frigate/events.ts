/** `frigate/events`: what Frigate says about an object it tracks, and the parts of it that matter here. */
import { PluginError } from '../../daemon/plugins/api';

export interface TrackedObject {
  readonly type: 'new' | 'update' | 'end';
  readonly id: string;
  readonly camera: string;
  readonly label: string;
  readonly hasSnapshot: boolean;
  readonly falsePositive: boolean;
}

/** Frigate's own are about 2 kB; long paths of an object make them longer. */
const maxPayloadBytes = 1 << 20;

function invalid(expected: string): PluginError {
  return new PluginError('MESSAGE_INVALID', `frigate/events: expected ${expected}`);
}

function asRecord(value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

/** Throws `MESSAGE_INVALID`. */
export function parseEvent(payload: Uint8Array): TrackedObject {
  if (payload.length > maxPayloadBytes) throw invalid(`at most ${maxPayloadBytes} bytes, received ${payload.length}`);
  let message: Record<string, unknown> | undefined;
  try {
    message = asRecord(JSON.parse(Buffer.from(payload).toString()));
  } catch {
    throw invalid('JSON');
  }
  const type = message?.['type'];
  if (type !== 'new' && type !== 'update' && type !== 'end') throw invalid('a type of new, update or end');
  const after = asRecord(message?.['after']);
  if (after === undefined) throw invalid('an object in after');
  const { id, camera, label } = after;
  // It becomes a part of a URL: nothing that has a meaning there.
  if (typeof id !== 'string' || !/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(id)) {
    throw invalid('after.id to be 1 to 128 of A-Z a-z 0-9 . _ -');
  }
  if (typeof camera !== 'string' || camera === '' || camera.length > 256) throw invalid('after.camera to be a name');
  if (typeof label !== 'string' || label.length > 256) throw invalid('after.label to be a name');
  return {
    type,
    id,
    camera,
    label,
    hasSnapshot: after['has_snapshot'] === true,
    falsePositive: after['false_positive'] === true,
  };
}

/** The stream hearth makes of a camera. */
export function streamOf(camera: string): string {
  return camera
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, '_')
    .slice(0, 64);
}
