/** The request verb `stream/set`: changes options of a stream while it runs, and takes them back to the configuration. */
import type { Request } from '../bus/bus';
import { changeProblem } from '../config';
import { HearthError } from '../errors';
import type { StreamSettings } from '../streams/stream-settings';
import type { Streams } from '../streams/streams';

export interface StreamSetReply extends Readonly<Record<string, unknown>> {
  /** What differs from the configuration. */
  readonly set: Readonly<Record<string, unknown>>;
  /** False where the state directory cannot be written. */
  readonly kept: boolean;
}

const invalid = (what: string): HearthError => new HearthError('REQUEST_INVALID', `stream/set: ${what}`);

/**
 * What is in force for the stream afterwards. Rejects with `REQUEST_INVALID`, or for a stream that is not taken with
 * `STREAM_NAME_INVALID`, `STREAM_LIMIT` or `STREAM_UNLISTED`; nothing has changed then.
 */
export async function setStream(
  streams: Pick<Streams, 'admit'>,
  settings: Pick<StreamSettings, 'kinds' | 'set' | 'changes' | 'inForce'>,
  { payload }: Pick<Request, 'payload'>,
): Promise<StreamSetReply> {
  const { id: _id, stream, reset = false, ...changes } = payload;
  if (typeof stream !== 'string') throw invalid('stream: expected the name of one');
  if (typeof reset !== 'boolean') throw invalid('reset: expected true or false');
  if (!reset && Object.keys(changes).length === 0) throw invalid('expected an option or reset');
  const kinds = settings.kinds(stream);
  const problems = Object.entries(changes).flatMap(([path, value]) => {
    const problem = changeProblem(kinds, path, value);
    return problem === undefined ? [] : [`${path.slice(0, 80)}: ${problem}`];
  });
  if (problems.length > 0) throw invalid(problems.slice(0, 5).join('; '));
  streams.admit(stream);
  const kept = await settings.set(stream, changes, reset);
  return { ...settings.inForce(stream), stream, set: settings.changes(stream), kept };
}
