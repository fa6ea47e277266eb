import { readFileSync } from 'node:fs';
import { defaultPrompts, parsePrompts } from '../../../daemon/inference/model-prompts';

describe('parsePrompts', () => {
  test('a model without prompts of its own gets the defaults', () => {
    expect(parsePrompts('')).toBe(defaultPrompts);
    expect(parsePrompts('{}')).toEqual(defaultPrompts);
  });

  test("a model's own replace them one by one", () => {
    const prompts = parsePrompts(
      JSON.stringify({
        caption: 'Look.',
        translate_audio: 'Into {lang}!',
        languages: { en: 'English' },
        question: 'unused',
      }),
    );
    expect(prompts).toEqual({
      ...defaultPrompts,
      caption: 'Look.',
      // It was not trained on ours.
      video: 'Look.',
      translateAudio: 'Into {lang}!',
      languages: { en: 'English' },
    });
  });

  test('a model with a prompt for a call of its own is asked for several with it, too, unless it has one for those', () => {
    expect(parsePrompts('{"call": "Call."}')).toMatchObject({ call: 'Call.', calls: 'Call.' });
    expect(parsePrompts('{"call": "Call.", "calls": "Call up to {max}."}').calls).toBe('Call up to {max}.');
  });

  test('the small model of the demonstration brings its own', () => {
    expect(readFileSync('daemon/demo/model/nano.gguf').includes('Answer with one JSON function call, or null.')).toBe(
      true,
    );
  });

  test.each([
    '[',
    '[]',
    'null',
    '"text"',
    '{"caption": 5}',
    '{"languages": {}}',
    '{"languages": {"en": 5}}',
    '{"languages": null}',
    ' '.repeat(70_000),
  ])('prompts that are none (%.20s) are MODEL_MISMATCH', (json) => {
    expect(() => parsePrompts(json)).toThrow(expect.objectContaining({ code: 'MODEL_MISMATCH' }));
  });
});
