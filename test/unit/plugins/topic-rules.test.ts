import { coversFilter, expandDeclared, TopicRules } from '../../../daemon/plugins/topic-rules';

const config = {
  base: 'home',
  room: 'attic',
  deep: { n: 3 },
  functions: [{ publish: { topic: 'a/{arguments.room}/set' } }, {}, { publish: { topic: 'b' } }],
  text: '{config.room}',
  wild: 'x/#',
  bad: 'x/#/y',
};

test.each([
  ['plain/+/topic', ['plain/+/topic']],
  ['{config.base}/{config.room}/x', ['home/attic/x']],
  ['n/{config.deep.n}', ['n/3']],
  ['{config.functions.*.publish.topic}', ['a/+/set', 'b']],
  ['{config.wild}', ['x/#']],
  ['{config.absent}/x', []],
  ['{config.deep}/x', []],
  ['{config.constructor.name}/x', []],
  ['room-{other}/x', ['+/x']],
  ['{config.text}/x', ['+/x']],
])('the declaration %j stands for %j', (declared, filters) => {
  expect(expandDeclared([declared], config)).toEqual(filters);
});

test('a configuration that makes no filter is the fault of the configuration', () => {
  expect(() => expandDeclared(['{config.bad}'], config)).toThrow(
    expect.objectContaining({ code: 'PLUGIN_CONFIG_INVALID' }),
  );
});

/** By hand from MQTT 5, section 4.7. */
test.each([
  ['a/b', 'a/b', true],
  ['a/+', 'a/b', true],
  ['a/+', 'a/+', true],
  ['a/#', 'a', true],
  ['a/#', 'a/+/c', true],
  ['a/#', 'a/#', true],
  ['#', 'a/#', true],
  ['+', '+', true],
  ['a/b', 'a/+', false],
  ['a/+', 'a/#', false],
  ['a/+', 'a', false],
  ['a/+', 'a/b/c', false],
  ['a/b/c', 'a/b', false],
  ['#', '$SYS/#', false],
  ['+/x', '$SYS/x', false],
  ['$SYS/#', '$SYS/x', true],
])('%s covers %s: %s', (declared, filter, covered) => {
  expect(coversFilter(declared, filter)).toBe(covered);
});

test('without a declaration nothing may be used', () => {
  const rules = new TopicRules({}, {}, { base: 'hearth', node: 'pi5' });
  expect(() => rules.checkPublish('a')).toThrow(expect.objectContaining({ code: 'PLUGIN_TOPIC_UNDECLARED' }));
  expect(() => rules.checkSubscribe('a')).toThrow(expect.objectContaining({ code: 'PLUGIN_TOPIC_UNDECLARED' }));
});

test('{base} and {node} are the daemon’s own; what the configuration says is no template', () => {
  const topics = { publish: ['{base}/{node}/x/+', '{config.mine}'], subscribe: ['{base}/+/info'] };
  const rules = new TopicRules({ topics }, { mine: '{base}/secret' }, { base: 'my/home', node: 'pi5' });
  expect(() => rules.checkPublish('my/home/pi5/x/y')).not.toThrow();
  expect(() => rules.checkSubscribe('my/home/+/info')).not.toThrow();
  expect(() => rules.checkPublish('my/home/secret')).toThrow(
    expect.objectContaining({ code: 'PLUGIN_TOPIC_UNDECLARED' }),
  );
});
