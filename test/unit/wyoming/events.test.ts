import { EventReader, encodeEvent } from '../../../daemon/wyoming/events';

const read = (reader: EventReader, bytes: Buffer | string) => [...reader.push(Buffer.from(bytes))];

test('what is written is read back', () => {
  const [event, ...rest] = read(new EventReader(), encodeEvent('transcript', { text: 'Zoë\n' }));
  expect(event).toEqual({ type: 'transcript', data: { text: 'Zoë\n' }, payload: Buffer.alloc(0) });
  expect(rest).toEqual([]);
});

test('events byte by byte are the events of one piece', () => {
  const bytes = Buffer.concat([
    Buffer.from('{"type":"a"}\n{"type":"b","data":null}\n'),
    Buffer.from('{"type":"c","data":{"x":1,"y":1},"data_length":7,"payload_length":3}\n{"y":2}\n\n\n'),
    Buffer.from('{"type":"d","payload_length":2}\nhi{"type":"e"}\n'),
  ]);
  const reader = new EventReader();
  const slowly = [...bytes].flatMap((byte) => [...reader.push(Buffer.of(byte))]);
  expect(read(new EventReader(), bytes)).toEqual(slowly);
  expect(slowly.map(({ type, data, payload }) => [type, data, payload.toString()])).toEqual([
    ['a', {}, ''],
    ['b', {}, ''],
    ['c', { x: 1, y: 2 }, '\n\n\n'],
    ['d', {}, 'hi'],
    ['e', {}, ''],
  ]);
});

test.each([
  ['{}\n'],
  ['null\n'],
  ['{"type":5}\n'],
  ['{"type":""}\n'],
  ['{"type":"a","data":[]}\n'],
  ['{"type":"a","data_length":1.5}\n'],
  ['{"type":"a","payload_length":1e9}\n'],
  ['{"type":"a","data_length":2}\n[]'],
  ['\n'],
  [Buffer.from([0x7b, 0xff, 0x7d, 0x0a])],
  ['x'.repeat(70_000)],
  [`{"type":"a","data":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}\n`],
])('%# is no event', (bytes) => {
  expect(() => read(new EventReader(), bytes)).toThrow(expect.objectContaining({ code: 'WYOMING_INVALID' }));
});
