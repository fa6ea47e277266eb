import { isScheduleEntry, isTimeZone, scheduleOf } from '../../../daemon/streams/schedule';

const berlin = (...entries: string[]): ((iso: string) => boolean) => {
  const covers = scheduleOf(entries, 'Europe/Berlin');
  return (iso) => covers(Date.parse(iso));
};

test('days and times are those of the time zone; the end is not in it', () => {
  const covers = berlin('mon-fri 07:00-22:00', 'sat sun 09:00-24:00');
  // 25 November 2026 is a Wednesday; Berlin is an hour ahead of UTC.
  expect(covers('2026-11-25T05:59:59Z')).toBe(false);
  expect(covers('2026-11-25T06:00:00Z')).toBe(true);
  expect(covers('2026-11-25T20:59:59Z')).toBe(true);
  expect(covers('2026-11-25T21:00:00Z')).toBe(false);
  expect(covers('2026-11-28T07:59:00Z')).toBe(false);
  expect(covers('2026-11-28T22:59:00Z')).toBe(true);
  expect(covers('2026-11-28T23:00:00Z')).toBe(false);
});

test('what runs past midnight belongs to the day it began on', () => {
  const covers = berlin('fri 22:00-06:00');
  expect(covers('2026-11-27T20:59:00Z')).toBe(false);
  expect(covers('2026-11-27T21:00:00Z')).toBe(true);
  expect(covers('2026-11-28T04:59:00Z')).toBe(true);
  expect(covers('2026-11-28T05:00:00Z')).toBe(false);
  // The night from Saturday to Sunday is another one.
  expect(covers('2026-11-28T22:00:00Z')).toBe(false);
});

test('without days it is every day; ranges go on past the end of the week; none at all is always', () => {
  const covers = berlin('12:00-13:00');
  for (let day = 22; day < 29; day++) expect(covers(`2026-11-${day}T11:30:00Z`)).toBe(true);
  const weekend = berlin('sat-mon 00:00-24:00');
  const days = [23, 24, 25, 26, 27, 28, 29].map((day) => weekend(`2026-11-${day}T11:00:00Z`));
  expect(days).toEqual([true, false, false, false, false, true, true]);
  expect(scheduleOf([], null)(0)).toBe(true);
});

test('daylight saving time: the hour that is left out never comes, the one that is repeated counts twice', () => {
  const covers = berlin('02:00-03:00');
  // Spring: 01:59 is followed by 03:00.
  expect(covers('2026-03-29T00:59:00Z')).toBe(false);
  expect(covers('2026-03-29T01:00:00Z')).toBe(false);
  // Autumn: 02:00 to 02:59 twice.
  expect(['00:00', '00:59', '01:00', '01:59'].map((at) => covers(`2026-10-25T${at}:00Z`))).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(covers('2026-10-25T02:00:00Z')).toBe(false);
  const night = berlin('22:00-06:00');
  expect(night('2026-03-29T03:59:00Z')).toBe(true);
  expect(night('2026-03-29T04:00:00Z')).toBe(false);
});

test('a minute is looked up once, the next one anew', () => {
  const covers = berlin('07:00-07:01');
  expect(['05:59:59', '06:00:00', '06:00:59', '06:01:00', '06:00:30'].map((at) => covers(`2026-11-25T${at}Z`))).toEqual(
    [false, true, true, false, true],
  );
});

test.each(['07:00-22:00', 'mon 00:00-24:00', 'MON-Fri sun 22:00-06:00', 'sun-sat  01:02-01:03'])('%s fits', (text) => {
  expect(isScheduleEntry(text)).toBe(true);
});

test.each([
  '',
  'mon',
  '7:00-22:00',
  '07:00',
  '07:00-25:00',
  '24:00-07:00',
  '07:00-07:00',
  'mo 07:00-08:00',
  'mon,tue 07:00-08:00',
  'mon-tue-wed 07:00-08:00',
  '07:60-08:00',
  `${'mon '.repeat(40)}07:00-08:00`,
])('%j does not fit', (text) => {
  expect(isScheduleEntry(text)).toBe(false);
});

test('time zones', () => {
  expect(['UTC', 'Europe/Berlin', 'America/St_Johns'].map(isTimeZone)).toEqual([true, true, true]);
  expect(['', 'Berlin', 'Europe/Atlantis', '../etc'].map(isTimeZone)).toEqual([false, false, false, false]);
});
