/** What a node says: in order, a few at a time, and not when it is too late. */
import type { OnceMessage } from '../../../daemon/bus/bus';
import { OnceQueue } from '../../../daemon/cluster/once-queue';

function create(maxInFlight: number, maxWaiting = 10) {
  const published: string[] = [];
  const pending: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const failed: string[] = [];
  const queue = new OnceQueue({
    maxInFlight,
    maxWaiting,
    publish: async (messages) => {
      published.push(messages.map(({ topic }) => topic).join('+'));
      await new Promise<void>((resolve, reject) => pending.push({ resolve, reject }));
    },
  });
  const say = (topics: string, may: () => boolean = () => true): void => {
    const messages: OnceMessage[] = topics.split('+').map((topic) => ({ topic, payload: '' }));
    queue.push({ messages, may, failed: (error) => failed.push(`${topics} ${(error as { code: string }).code}`) });
  };
  return { queue, say, published, pending, failed };
}

const settled = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

test('messages that do not fit wait for acknowledgements, in order', async () => {
  const { say, published, pending } = create(3);
  for (const topics of ['a+b', 'c+d', 'e', 'f']) say(topics);
  expect(published).toEqual(['a+b']);
  pending[0]?.resolve();
  await settled();
  expect(published).toEqual(['a+b', 'c+d', 'e']);
  pending[1]?.resolve();
  await settled();
  expect(published).toEqual(['a+b', 'c+d', 'e', 'f']);
});

test('more messages together than fit at a time are said alone', () => {
  const { say, published } = create(1);
  for (const topics of ['a+b', 'c']) say(topics);
  expect(published).toEqual(['a+b']);
});

test('what may not be said any more when its turn comes is not, and what failed lets the next through', async () => {
  let lease = true;
  const { say, published, pending, failed } = create(1);
  say('a');
  say('late', () => lease);
  say('b');
  lease = false;
  pending[0]?.reject(Object.assign(new Error('gone'), { code: 'BUS_OFFLINE' }));
  await settled();
  expect(published).toEqual(['a', 'b']);
  expect(failed).toEqual(['a BUS_OFFLINE', 'late BUS_EXPIRED']);
});

test('nothing that waits is said on another connection, and no more waits than may', () => {
  const { queue, say, published, failed } = create(1, 2);
  for (const topics of ['a', 'b', 'c', 'd']) say(topics);
  expect(failed).toEqual(['d BUS_OUTBOX_FULL']);
  queue.clear();
  expect(failed).toEqual(['d BUS_OUTBOX_FULL', 'b BUS_OFFLINE', 'c BUS_OFFLINE']);
  expect(published).toEqual(['a']);
});
