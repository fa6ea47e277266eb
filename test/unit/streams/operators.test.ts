import { map, timer } from 'rxjs';
import { TestScheduler } from 'rxjs/testing';
import { oneAtATime, rateLimit } from '../../../daemon/streams/operators';

const marbles = (run: Parameters<TestScheduler['run']>[0]): void => {
  new TestScheduler((actual, expected) => expect(actual).toEqual(expected)).run(run);
};

test('rateLimit lets a value through once the interval has passed and reports the others', () => {
  marbles(({ cold, expectObservable, flush }) => {
    const skipped: string[] = [];
    const limited = cold('a-b-c-d-e--f|').pipe(
      rateLimit(
        () => 4,
        (value) => skipped.push(value),
      ),
    );
    expectObservable(limited).toBe('a---c---e---|');
    flush();
    expect(skipped).toEqual(['b', 'd', 'f']);
  });
});

test('an interval of 0 lets everything through, even in the same millisecond', () => {
  marbles(({ cold, expectObservable }) => {
    expectObservable(
      cold('(abc)-d|').pipe(
        rateLimit(
          () => 0,
          (value) => {
            throw new Error(`skipped ${value}`);
          },
        ),
      ),
    ).toBe('(abc)-d|');
  });
});

test('latest wins: of what arrives while one runs only the newest waits', () => {
  marbles(({ cold, expectObservable, flush }) => {
    const dropped: string[] = [];
    const result = cold('abcd------e----|').pipe(
      oneAtATime((value) => timer(5).pipe(map(() => value)), {
        capacity: 1,
        drop: 'oldest',
        onDropped: (value, why) => dropped.push(`${value} ${why}`),
      }),
    );
    // a runs 0-5, d 5-10, e 10-15.
    expectObservable(result).toBe('-----a----d----(e|)');
    flush();
    expect(dropped).toEqual(['b full', 'c full']);
  });
});

test('a bounded FIFO keeps the oldest', () => {
  marbles(({ cold, expectObservable, flush }) => {
    const dropped: string[] = [];
    const result = cold('abcde|').pipe(
      oneAtATime((value) => timer(5).pipe(map(() => value)), {
        capacity: 2,
        drop: 'newest',
        onDropped: (value, why) => dropped.push(`${value} ${why}`),
      }),
    );
    expectObservable(result).toBe('-----a----b----(c|)');
    flush();
    expect(dropped).toEqual(['d full', 'e full']);
  });
});

test('what still waits on unsubscription is reported', () => {
  marbles(({ cold, expectObservable, flush }) => {
    const dropped: string[] = [];
    const result = cold('abc').pipe(
      oneAtATime((value) => timer(50).pipe(map(() => value)), {
        capacity: 8,
        drop: 'newest',
        onDropped: (value, why) => dropped.push(`${value} ${why}`),
      }),
    );
    expectObservable(result, '----!').toBe('-----');
    flush();
    expect(dropped).toEqual(['b unsubscribed', 'c unsubscribed']);
  });
});
