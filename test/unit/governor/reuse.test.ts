import { Reuse } from '../../../daemon/governor/reuse';
import type { GenerateRequest, Message, Part } from '../../../daemon/inference/types';

const text = (role: Message['role'], words: string): Message => ({ role, parts: [{ type: 'text', text: words }] });
const chat = (...messages: Message[]): GenerateRequest => ({ messages });
const picture = (value: number): Part => ({
  type: 'image',
  image: { width: 100, height: 100, data: new Uint8Array(30_000).fill(value) },
});

test('the longest beginning of earlier prompts is found, with the group it was computed with last', () => {
  const reuse = new Reuse();
  const system = text('system', 'x'.repeat(400));
  const first = text('user', 'y'.repeat(40));
  expect(reuse.find(chat(system, first))).toBeUndefined();
  reuse.note(chat(system, first), 0, 0);
  expect(reuse.find(chat(system, text('user', 'other')))).toEqual({ kvGroup: 0, tokens: 108 });
  expect(reuse.find(chat(system, first, text('model', 'a'), text('user', 'b')))).toEqual({ kvGroup: 0, tokens: 126 });
  expect(reuse.find(chat(first))).toBeUndefined();
  expect(reuse.find(chat({ ...system, role: 'user' }))).toBeUndefined();
  reuse.note(chat(system, text('user', 'z')), 4, 0);
  expect(reuse.find(chat(system, text('user', 'other')))).toMatchObject({ kvGroup: 4 });
  expect(reuse.find(chat(system, first))).toMatchObject({ kvGroup: 0 });
});

test('pictures and sounds count by what is in them', () => {
  const reuse = new Reuse();
  const sound = (value: number): Part => ({ type: 'audio', audio: { samples: new Float32Array(5000).fill(value) } });
  const video = (value: number): Part => ({
    type: 'video',
    frames: [{ image: { width: 1, height: 1, data: new Uint8Array(3).fill(value) }, timeMs: 0 }],
  });
  for (const part of [picture, sound, video]) {
    reuse.note(chat({ role: 'user', parts: [part(1)] }), 1, 0);
    expect(reuse.find(chat({ role: 'user', parts: [part(1)] }))?.kvGroup).toBe(1);
    expect(reuse.find(chat({ role: 'user', parts: [part(2)] }))).toBeUndefined();
  }
});

test('what turns out to be gone is forgotten, and nothing is believed of a runner that keeps nothing', () => {
  const reuse = new Reuse();
  const request = chat(text('user', 'a'));
  const other = chat(text('user', 'b'));
  reuse.note(request, 0, 0);
  reuse.note(other, 0, 0);
  reuse.note(request, 0, 0);
  expect(reuse.find(other)).toBeUndefined();
  expect(reuse.find(request)).toBeDefined();
  reuse.note(request, 0, undefined);
  expect(reuse.find(request)).toBeUndefined();
});

test('it does not grow without bound', () => {
  const reuse = new Reuse();
  for (let i = 0; i < 300; i++) reuse.note(chat(text('user', `message ${i}`)), 0, 0);
  expect(reuse.find(chat(text('user', 'message 0')))).toBeUndefined();
  expect(reuse.find(chat(text('user', 'message 299')))).toBeDefined();
});
