import { checkFilter, checkTopic, isName, matchesFilter, multilevelReaches, Topics } from '../../../daemon/bus/topics';
import { HearthError } from '../../../daemon/errors';

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'nothing';
  } catch (error) {
    return error instanceof HearthError ? error.code : String(error);
  }
}

// MQTT 5.0, section 4.7: the examples of the text, and its corner cases.
test.each([
  ['sport/tennis/player1/#', 'sport/tennis/player1', true],
  ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
  ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
  ['sport/#', 'sport', true],
  ['#', 'a/b/c', true],
  ['#', '$SYS/broker', false],
  ['+/monitor/Clients', '$SYS/monitor/Clients', false],
  ['$SYS/#', '$SYS/monitor', true],
  ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
  ['sport/tennis/+', 'sport/tennis/player1', true],
  ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
  ['sport/+', 'sport', false],
  ['sport/+', 'sport/', true],
  ['+', 'finance', true],
  ['/+', '/finance', true],
  ['+/+', '/finance', true],
  ['+', '/finance', false],
  ['a/b', 'a/b/c', false],
  ['a/b/c', 'a/b', false],
  ['A', 'a', false],
])('filter %s on topic %s: %s', (filter, topic, matches) => {
  expect(matchesFilter(filter, topic)).toBe(matches);
});

test.each(['a', '+', '#', '/', 'a/+/b', '+/+', 'a/#', '/#', 'hermes/audioServer/+/audioFrame'])(
  '%s is a filter',
  (filter) => {
    expect(checkFilter(filter)).toBe(filter);
  },
);

test.each(['', 'a#', 'a/b#', '#/a', 'a/#/b', 'a+', '+a/b', 'a\0b', '\ud800', 'x'.repeat(65_536)])(
  'case %# is no filter',
  (filter) => {
    expect(codeOf(() => checkFilter(filter))).toBe('BUS_TOPIC_INVALID');
  },
);

test.each(['', 'a/+', 'a/#', 'a\0', '\udc00', 'ä'.repeat(40_000)])('case %# is no topic to publish on', (topic) => {
  expect(codeOf(() => checkTopic(topic))).toBe('BUS_TOPIC_INVALID');
});

test.each([
  ['#', true],
  ['hearth/#', true],
  ['hearth/in/#', true],
  ['+/#', true],
  ['+/in/x/#', true],
  ['frigate/#', false],
  ['hearth2/#', false],
  ['hearth/in/+/frame', false],
])('%s reaches under hearth: %s', (filter, reaches) => {
  expect(multilevelReaches(filter, 'hearth')).toBe(reaches);
});

test('topics of a node', () => {
  const topics = new Topics('home/hearth', 'pi5');
  expect(topics.state).toBe('home/hearth/pi5/state');
  expect(topics.response('model/load')).toBe('home/hearth/pi5/response/model/load');
  expect(topics.pluginState('function-calls')).toBe('home/hearth/pi5/plugin/function-calls/state');
  expect(topics.outLast('front_door', 'caption')).toBe('home/hearth/pi5/out/front_door/caption/last');
  expect(topics.in('audio/end')).toBe('home/hearth/in/+/audio/end');
  expect(topics.parseIn('home/hearth/in/mic/audio/end')).toEqual({ stream: 'mic', kind: 'audio/end' });
  expect(topics.parseIn('home/hearth/in/mic/video')).toBeUndefined();
  expect(topics.parseIn('hearth/in/mic/frame')).toBeUndefined();
  expect(topics.verbOf('home/hearth/pi5/request/model/load')).toBe('model/load');
  expect(topics.verbOf('home/hearth/pi5/request/a/b/c')).toBeUndefined();
  expect(topics.verbOf('home/hearth/pi5/request/')).toBeUndefined();
});

test.each(['', 'a/b', 'a+b', '#', 'Front', 'tür', 'x'.repeat(65), 'a b', '\0'])('name %j cannot be a level', (name) => {
  const topics = new Topics('hearth', 'pi5');
  expect(isName(name)).toBe(false);
  expect(codeOf(() => topics.out(name, 'caption'))).toBe('STREAM_NAME_INVALID');
  expect(codeOf(() => topics.in('frame', name))).toBe('STREAM_NAME_INVALID');
  expect(codeOf(() => topics.pluginState(name))).toBe('BUS_TOPIC_INVALID');
  expect(codeOf(() => new Topics('hearth', name))).toBe('BUS_TOPIC_INVALID');
});

test.each(['', 'a//b', '+', '/hearth', 'a/#'])('base topic %j is refused', (base) => {
  expect(codeOf(() => new Topics(base, 'pi5'))).toBe('BUS_TOPIC_INVALID');
});
