import { StopSequences } from '../../../daemon/inference/stop-sequences';

/** What a reader sees of text that comes in these pieces. */
function read(stops: readonly string[], pieces: readonly string[]): { shown: string[]; stopped: boolean } {
  const sequences = new StopSequences(stops);
  const shown: string[] = [];
  for (const piece of pieces) {
    const { text, stopped } = sequences.push(piece);
    shown.push(text);
    if (stopped) return { shown, stopped };
  }
  shown.push(sequences.flush());
  return { shown, stopped: false };
}

describe('StopSequences', () => {
  test('without any, text passes at once', () => {
    expect(read([], ['a', 'b'])).toEqual({ shown: ['a', 'b', ''], stopped: false });
  });

  test('text ends before the sequence, wherever the pieces are cut', () => {
    expect(read(['END'], ['abcENDdef'])).toEqual({ shown: ['abc'], stopped: true });
    expect(read(['END'], ['abE', 'N', 'Dx'])).toEqual({ shown: ['ab', '', ''], stopped: true });
  });

  test('what only began like one is shown when it turns out otherwise, or nothing follows', () => {
    expect(read(['END'], ['abE', 'Nx'])).toEqual({ shown: ['ab', 'ENx', ''], stopped: false });
    expect(read(['END'], ['abEN'])).toEqual({ shown: ['ab', 'EN'], stopped: false });
    expect(read(['aab'], ['aa', 'a', 'b'])).toEqual({ shown: ['', 'a', ''], stopped: true });
  });

  test('the first of several that is found counts', () => {
    expect(read(['yy', 'x'], ['axbyy'])).toEqual({ shown: ['a'], stopped: true });
  });
});
