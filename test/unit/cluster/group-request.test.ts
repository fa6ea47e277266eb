/** Requests to a cluster: what every node makes the same job of, and what is refused. */
import type { PacketInfo, PacketProperties } from '../../../daemon/bus/bus';
import { ClusterTopics } from '../../../daemon/bus/topics';
import { type Refused, readGroupRequest } from '../../../daemon/cluster/group-request';
import type { JobRequest } from '../../../daemon/cluster/job-table';

const options = {
  topics: new ClusterTopics('hearth', 'home'),
  maxRequestBytes: 1000,
  defaultPriority: 4,
  defaultDeadlineMs: 60_000,
};

function read(payload: string, properties: PacketProperties = {}, verb = 'generate'): JobRequest | Refused {
  const info: PacketInfo = { retain: false, receivedTs: 12, properties };
  return readGroupRequest(verb, Buffer.from(payload), info, options);
}

const keyOf = (payload: string, properties?: PacketProperties, verb?: string): string => {
  const request = read(payload, properties, verb);
  if ('error' in request) throw request.error;
  return request.key;
};

test('a request becomes a job, with its own priority and deadline or those of the node', () => {
  expect(read('{"id":"a","prompt":"x"}')).toMatchObject({
    verb: 'generate',
    id: 'a',
    priority: 4,
    deadlineMs: 60_000,
    responseTopic: 'hearth/cluster/home/response/generate',
    payload: { id: 'a', prompt: 'x' },
    sizeBytes: 23,
  });
  expect(read('{"id":"a","priority":9,"deadlineMs":500}')).toMatchObject({ priority: 9, deadlineMs: 500 });
  expect(read('{"id":"a","priority":"all","deadlineMs":1e12}')).toMatchObject({ priority: 4, deadlineMs: 60_000 });
});

test('the same request is the same job; another verb, id, response topic or correlation is another', () => {
  const base = '{"id":"a"}';
  const correlated = { responseTopic: 'asker/1', correlationData: Buffer.from('1') };
  expect(keyOf(base)).toBe(keyOf(base));
  expect(keyOf(base, correlated)).toBe(keyOf(base, { ...correlated }));
  const keys = [
    keyOf(base),
    keyOf(base, {}, 'caption'),
    keyOf('{"id":"b"}'),
    keyOf(base, { responseTopic: 'asker/1' }),
    keyOf(base, correlated),
    keyOf(base, { ...correlated, correlationData: Buffer.from('2') }),
  ];
  expect(new Set(keys).size).toBe(keys.length);
});

test.each([
  ['{"prompt":"x"}', {}, 'generate', 'REQUEST_BAD_JSON', null],
  ['[]', {}, 'generate', 'REQUEST_BAD_JSON', null],
  [`{"id":"a","prompt":"${'x'.repeat(1000)}"}`, {}, 'generate', 'REQUEST_TOO_LARGE', null],
  ['{"id":"a"}', {}, 'cancel', 'REQUEST_UNKNOWN_VERB', 'a'],
  ['{"id":"a"}', {}, 'health', 'REQUEST_UNKNOWN_VERB', 'a'],
  ['{"id":"a"}', { responseTopic: 'hearth/pi5/state' }, 'generate', 'BUS_TOPIC_INVALID', 'a'],
  ['{"id":"a"}', { responseTopic: 'hearth/in/door/frame' }, 'generate', 'BUS_TOPIC_INVALID', 'a'],
  ['{"id":"a"}', { responseTopic: 'hearth/cluster/home/node/pi5' }, 'generate', 'BUS_TOPIC_INVALID', 'a'],
  ['{"id":"a"}', { responseTopic: 'hearth/cluster/home/request/generate' }, 'generate', 'BUS_TOPIC_INVALID', 'a'],
  ['{"id":"a"}', { responseTopic: '$SYS/x' }, 'generate', 'BUS_TOPIC_INVALID', 'a'],
  ['{"id":"a"}', { responseTopic: 'a/#' }, 'generate', 'BUS_TOPIC_INVALID', 'a'],
])('%s with %j to %s is refused with %s, on the topic for answers', (payload, properties, verb, code, id) => {
  const refused = read(payload, properties, verb) as Refused;
  expect(refused).toMatchObject({ id, error: { code }, responseTopic: `hearth/cluster/home/response/${verb}` });
});
