/** A chat as either front door understands it, and the messages the engine makes a prompt of. */
import type { JsonSchema, Message, Part, Sampling, SliceRequest } from '../inference/types';
import type { Tools } from './tools';

export interface Chat {
  readonly messages: readonly Message[];
  readonly sampling?: Sampling;
  /** As long as the context has room when left out. */
  readonly maxTokens?: number;
  readonly stop?: readonly string[];
  readonly schema?: JsonSchema;
  readonly slice?: SliceRequest;
  readonly imageSize?: 256 | 512 | 768;
  readonly tools?: Tools;
}

/** Pictures and sounds of one request, all messages together: more would not fit a context. */
export const maxMediaParts = 32;

/** Text next to text becomes one part, with a line between; empty text goes where there is something else. */
export function joinParts(parts: readonly Part[]): Part[] {
  const joined: Part[] = [];
  for (const part of parts) {
    const last = joined.at(-1);
    if (part.type === 'text' && part.text === '') continue;
    if (part.type === 'text' && last?.type === 'text') {
      joined[joined.length - 1] = { type: 'text', text: `${last.text}\n\n${part.text}` };
    } else joined.push(part);
  }
  return joined.length === 0 ? [{ type: 'text', text: '' }] : joined;
}

/** Turns of one role that follow each other are one, since the model knows only turns that alternate. */
export function joinTurns(messages: readonly Message[]): Message[] {
  const turns: Message[] = [];
  const system = messages.filter(({ role }) => role === 'system').flatMap(({ parts }) => parts);
  if (system.length > 0) turns.push({ role: 'system', parts: joinParts(system) });
  for (const { role, parts } of messages) {
    if (role === 'system') continue;
    const last = turns.at(-1);
    if (last?.role === role) turns[turns.length - 1] = { role, parts: joinParts([...last.parts, ...parts]) };
    else turns.push({ role, parts: joinParts(parts) });
  }
  return turns;
}
