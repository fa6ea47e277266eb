/** What a request `call` asks for. */
import { PluginError, type PluginPart, type RequestItem } from '../../daemon/plugins/api';
import type { Source } from './policy';

export type CallRequest =
  | { readonly settle: string; readonly confirmed: boolean }
  | {
      readonly source: Source;
      readonly media: readonly PluginPart[];
      readonly text: string;
      readonly dryRun: boolean;
    };

const maxTextCharacters = 16_384;
const maxIdCharacters = 256;
const knownMembers = ['text', 'dryRun', 'confirm', 'reject'];

const invalid = (what: string): PluginError => new PluginError('REQUEST_INVALID', `call: ${what}`);

function settlement(payload: RequestItem['payload'], alone: boolean): CallRequest | undefined {
  const { confirm, reject } = payload;
  const id = confirm ?? reject;
  if (id === undefined) return undefined;
  if (!alone || Object.keys(payload).length !== 1 || typeof id !== 'string' || id === '' || id.length > maxIdCharacters)
    throw invalid('expected nothing but confirm or reject, with the id of a pending call');
  return { settle: id, confirmed: confirm !== undefined };
}

/** Throws `REQUEST_INVALID`. */
export function parseRequest({ payload, image, audio }: RequestItem): CallRequest {
  const unknown = Object.keys(payload).find((member) => !knownMembers.includes(member));
  if (unknown !== undefined) {
    const received = JSON.stringify(unknown.slice(0, 60));
    throw invalid(`expected text, audio or image and text, dryRun, confirm or reject, received ${received}`);
  }
  const settled = settlement(payload, image === undefined && audio === undefined);
  if (settled !== undefined) return settled;
  const { text, dryRun = false } = payload;
  if (typeof dryRun !== 'boolean') throw invalid('dryRun: expected true or false');
  if ((text === undefined) === (audio === undefined)) throw invalid('expected either text or audio');
  if (audio !== undefined) {
    if (image !== undefined) throw invalid('expected text beside an image');
    return { source: 'speech', media: [{ type: 'media', media: audio }], text: '', dryRun };
  }
  if (typeof text !== 'string' || text.trim() === '' || text.length > maxTextCharacters)
    throw invalid(`text: expected 1 to ${maxTextCharacters} characters`);
  return image === undefined
    ? { source: 'text', media: [], text, dryRun }
    : { source: 'picture', media: [{ type: 'media', media: image }], text, dryRun };
}
