/** Messages of the Hermes protocol, as Snips made it and Rhasspy speaks it. */
import { PluginError } from '../../daemon/plugins/api';

export const captured = 'hermes/asr/textCaptured';
export const failed = 'hermes/error/asr';
/** The messages about a site that are listened to. */
export const controls = ['startListening', 'stopListening', 'toggleOn', 'toggleOff'] as const;
export type Control = (typeof controls)[number];

export const controlTopic = (control: Control): string => `hermes/asr/${control}`;

export interface SiteMessage {
  readonly siteId: string;
  readonly sessionId: string | null;
  readonly wakewordId: string | null;
  readonly lang: string | null;
}

const maxPayloadBytes = 65_536;
const maxIdCharacters = 256;

function invalid(topic: string, expected: string): PluginError {
  return new PluginError('MESSAGE_INVALID', `${topic}: expected ${expected}`);
}

/** Throws `MESSAGE_INVALID`. */
export function parseSiteMessage(topic: string, payload: Uint8Array): SiteMessage {
  if (payload.length > maxPayloadBytes) throw invalid(topic, `at most ${maxPayloadBytes} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload).toString());
  } catch {
    throw invalid(topic, 'a JSON object');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(topic, 'a JSON object');
  const message = value as Record<string, unknown>;
  const text = (name: string): string | null => {
    const member = message[name] ?? null;
    if (member === null) return null;
    if (typeof member === 'string' && member.length <= maxIdCharacters) return member;
    throw invalid(topic, `${name} to be text of at most ${maxIdCharacters} characters, or null`);
  };
  return {
    siteId: text('siteId') ?? 'default',
    sessionId: text('sessionId'),
    wakewordId: text('wakewordId'),
    lang: text('lang'),
  };
}

/** The site a chunk of sound is from, or undefined where the topic is none of Hermes'. */
export function siteOf(topic: string): string | undefined {
  return /^hermes\/audioServer\/([^/]+)\/audioFrame$/.exec(topic)?.[1];
}

/** The stream hearth makes of a site. */
export function streamOf(siteId: string): string {
  return siteId
    .toLowerCase()
    .replace(/[^a-z0-9_-]/g, '_')
    .slice(0, 64);
}
