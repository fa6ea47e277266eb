/**
 * When a stream is used: texts such as `mon-fri 07:00-22:00`. Times are those a clock on the wall of the time zone shows,
 * so what daylight saving time leaves out never comes, and the hour it repeats counts twice. What runs past midnight
 * belongs to the day it began on.
 */
interface Span {
  /** 0 is Sunday. */
  readonly days: ReadonlySet<number>;
  /** Minutes of the day; `to` is not in it any more, and is less than `from` past midnight. */
  readonly from: number;
  readonly to: number;
}

const dayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const everyDay: ReadonlySet<number> = new Set(dayNames.keys());
const day = `(?:${dayNames.join('|')})`;
const time = '((?:[01]\\d|2[0-3]):[0-5]\\d|24:00)';
const form = new RegExp(`^((?:${day}(?:-${day})? +)*)${time}-${time}$`, 'i');

/** The days of `mon-fri sun`; a range may go on past the end of the week. */
function daysOf(text: string): ReadonlySet<number> {
  const words = text.toLowerCase().split(/ +/).filter(Boolean);
  if (words.length === 0) return everyDay;
  const days = new Set<number>();
  for (const word of words) {
    const [first = 0, last = first] = word.split('-').map((name) => dayNames.indexOf(name));
    for (let at = first; ; at = (at + 1) % 7) {
      days.add(at);
      if (at === last) break;
    }
  }
  return days;
}

function minutesOf(text: string): number {
  const [hours = 0, minutes = 0] = text.split(':').map(Number);
  return 60 * hours + minutes;
}

function parseSpan(text: string): Span | undefined {
  const match = text.length > 80 ? null : form.exec(text.trim());
  if (match === null) return undefined;
  const [, days = '', from = '', to = ''] = match;
  const span = { days: daysOf(days), from: minutesOf(from), to: minutesOf(to) };
  return span.from === 1440 || span.from === span.to ? undefined : span;
}

export function isScheduleEntry(text: string): boolean {
  return parseSpan(text) !== undefined;
}

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Tells whether a moment (Unix time in milliseconds) is within one of `entries`; always, where there are none. */
export function scheduleOf(entries: readonly string[], timeZone: string | null): (ms: number) => boolean {
  const spans = entries.flatMap((text) => parseSpan(text) ?? []);
  if (spans.length === 0) return () => true;
  const clock = new Intl.DateTimeFormat('en-US', {
    ...(timeZone !== null && { timeZone }),
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  // Every frame asks, and the answer is the same for a minute.
  let [minute, answer] = [Number.NaN, false];
  return (ms) => {
    const now = Math.floor(ms / 60_000);
    if (now === minute) return answer;
    minute = now;
    const parts = Object.fromEntries(clock.formatToParts(ms).map(({ type, value }) => [type, value]));
    const today = dayNames.indexOf((parts['weekday'] ?? '').toLowerCase());
    const at = minutesOf(`${parts['hour']}:${parts['minute']}`);
    answer = spans.some(({ days, from, to }) =>
      from < to
        ? days.has(today) && at >= from && at < to
        : (days.has(today) && at >= from) || (days.has((today + 6) % 7) && at < to),
    );
    return answer;
  };
}
