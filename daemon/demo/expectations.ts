/** What should come back over MQTT in one round; each event is held against the next one of its kind and stream. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { EventKind, StreamEvent } from '../events';
import { camera, type FunctionCall, mediaPath, microphones, type Script } from './script';

interface Expected {
  readonly what: string;
  readonly value: string;
}

export interface Verdict {
  readonly what: string;
  readonly expected: string | undefined;
  readonly actual: string;
  readonly right: boolean;
}

export function callText(call: FunctionCall | null): string {
  return call === null
    ? 'no call'
    : `${call.name}(${Object.entries(call.arguments)
        .map(([name, value]) => `${name}: ${String(value)}`)
        .join(', ')})`;
}

export class Expectations {
  private readonly waiting = new Map<string, Expected[]>();
  /** Pictures by the hash of their bytes: a camera's frames may be skipped, so their order says nothing. */
  private readonly captions = new Map<string, Expected>();
  wrong = 0;

  constructor(script: Script) {
    for (const { file, caption } of script.pictures) {
      const hash = createHash('sha256')
        .update(readFileSync(mediaPath(file)))
        .digest('hex');
      this.captions.set(hash, { what: file, value: caption });
    }
    for (const { file, answer, question } of script.questions)
      this.add(camera, 'answer', { what: `${file}: ${question}`, value: answer });
    for (const { file, language, transcript, translation, call } of script.recordings) {
      const stream = microphones[language];
      this.add(stream, 'transcript', { what: file, value: transcript });
      if (translation !== null) this.add(stream, 'translation', { what: file, value: translation });
      this.add(stream, 'call', { what: file, value: callText(call) });
    }
    for (const { text, translation } of script.texts)
      this.add('request', 'translate', { what: text, value: translation });
  }

  get missing(): string[] {
    const late = [...this.waiting].flatMap(([key, expected]) => expected.map(({ what }) => `${key} of ${what}`));
    return [...late, ...[...this.captions.values()].map(({ what }) => `caption of ${what}`)];
  }

  event(event: StreamEvent): Verdict {
    const actual = event.kind === 'call' ? callText(event.call ?? null) : (event.text ?? '');
    if (event.kind === 'caption') {
      const hash = event.source?.sha256 ?? '';
      const expected = this.captions.get(hash);
      this.captions.delete(hash);
      return this.judge(expected, actual);
    }
    return this.judge(this.waiting.get(`${event.stream} ${event.kind}`)?.shift(), actual);
  }

  response(text: string): Verdict {
    return this.judge(this.waiting.get('request translate')?.shift(), text);
  }

  private add(stream: string, kind: EventKind | 'translate', expected: Expected): void {
    const key = `${stream} ${kind}`;
    this.waiting.set(key, [...(this.waiting.get(key) ?? []), expected]);
  }

  private judge(expected: Expected | undefined, actual: string): Verdict {
    const right = expected !== undefined && expected.value === actual;
    if (!right) this.wrong++;
    return { what: expected?.what ?? 'nothing that was played', expected: expected?.value, actual, right };
  }
}
