/** A plugin's request for the engine, checked, with the pictures and sounds it refers to put in. */
import { HearthError } from '../errors';
import type { GenerateRequest, Message, Part } from '../inference/types';
import { isRecord } from '../json';
import type { PluginGenerateRequest } from './api';

const roles: readonly unknown[] = ['system', 'user', 'model'];

const invalid = (what: string): HearthError => new HearthError('PROMPT_INVALID', `generate: ${what}`);

function isImage(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const { width, height, data } = value;
  return (
    Number.isInteger(width) &&
    Number.isInteger(height) &&
    data instanceof Uint8Array &&
    data.length === 3 * Number(width) * Number(height)
  );
}

function isAudio(value: unknown): boolean {
  return isRecord(value) && value['samples'] instanceof Float32Array;
}

/** A list of pictures or sounds, each with its time. */
function isTimed(value: unknown, isWhatItIs: (value: Record<string, unknown>) => boolean): boolean {
  return (
    Array.isArray(value) &&
    value.every((entry) => isRecord(entry) && Number.isFinite(entry['timeMs']) && isWhatItIs(entry))
  );
}

function isVideo({ frames, sounds = [] }: Record<string, unknown>): boolean {
  return isTimed(frames, ({ image }) => isImage(image)) && isTimed(sounds, ({ audio }) => isAudio(audio));
}

function resolvePart(part: unknown, where: string, media: (ref: string) => Part): Part {
  if (!isRecord(part)) throw invalid(`${where}: expected an object with a type`);
  switch (part['type']) {
    case 'text':
      if (typeof part['text'] === 'string') return part as Part;
      throw invalid(`${where}.text: expected text, received ${typeof part['text']}`);
    case 'media': {
      const reference = part['media'];
      if (isRecord(reference) && typeof reference['ref'] === 'string') return media(reference['ref']);
      throw invalid(`${where}.media: expected the media of an item or a request`);
    }
    case 'image':
      if (isImage(part['image'])) return part as Part;
      throw invalid(`${where}.image: expected width, height and width * height * 3 bytes`);
    case 'audio':
      if (isAudio(part['audio'])) return part as Part;
      throw invalid(`${where}.audio: expected samples as a Float32Array`);
    case 'video':
      if (isVideo(part)) return part as Part;
      throw invalid(`${where}: expected frames of { image, timeMs } and, if any, sounds of { audio, timeMs }`);
    default:
      throw invalid(
        `${where}.type: expected text, image, audio, video or media, received ${JSON.stringify(part['type'] ?? null)?.slice(0, 40)}`,
      );
  }
}

/** Throws `PROMPT_INVALID`, or what `media` throws. What is not about messages is left for the runtime to check. */
export function resolveRequest(request: PluginGenerateRequest, media: (ref: string) => Part): GenerateRequest {
  if (!isRecord(request) || !Array.isArray(request.messages)) throw invalid('expected { messages: [...] }');
  const { item: _item, bargeIn: _bargeIn, messages, ...options } = request;
  return {
    ...options,
    messages: messages.map((message: unknown, m): Message => {
      if (!isRecord(message) || !roles.includes(message['role']) || !Array.isArray(message['parts'])) {
        throw invalid(`messages[${m}]: expected a role of ${roles.join(', ')} and parts`);
      }
      const parts = message['parts'].map((part, p) => resolvePart(part, `messages[${m}].parts[${p}]`, media));
      return { role: message['role'] as Message['role'], parts };
    }),
  };
}
