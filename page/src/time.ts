// Times of day and the ticks of a time axis, in the time zone of whoever looks.

export const SECOND = 1000,
  MINUTE = 60 * SECOND,
  HOUR = 60 * MINUTE,
  DAY = 24 * HOUR;

const two = (n: number) => String(n).padStart(2, "0");

export function clock(ms: number, seconds = false): string {
  const d = new Date(ms);
  return two(d.getHours()) + ":" + two(d.getMinutes()) + (seconds ? ":" + two(d.getSeconds()) : "");
}

export function date(ms: number): string {
  const d = new Date(ms);
  return two(d.getMonth() + 1) + "-" + two(d.getDate());
}

// moment is a time of day, with its date where that is not today's.
export function moment(ms: number, now: number, seconds = false): string {
  const same = new Date(ms).toDateString() === new Date(now).toDateString();
  return (same ? "" : date(ms) + " ") + clock(ms, seconds);
}

// range is two moments, with dates where either is not today's.
export function range(from: number, until: number, now: number): string {
  const today = date(now);
  if (date(from) === today && date(until) === today) return `${clock(from)} – ${clock(until)}`;
  return `${date(from)} ${clock(from)} – ${date(until) === date(from) ? "" : date(until) + " "}${clock(until)}`;
}

export interface Tick {
  at: number;
  label: string;
  strong: boolean; // a day begins, or a year among months
}

// A step of at most an hour is counted from the hour, since zones differ by parts of one.
// Longer steps go by the calendar: a day has 23 or 25 hours twice a year, and months differ.
interface Step {
  about: number;
  hours?: number;
  days?: number;
  months?: number;
}

const STEPS: Step[] = [
  ...[1, 5, 15, 30].map((n) => ({ about: n * SECOND })),
  ...[1, 2, 5, 10, 15, 30, 60].map((n) => ({ about: n * MINUTE })),
  ...[3, 6, 12].map((n) => ({ about: n * HOUR, hours: n })),
  ...[1, 2, 7].map((n) => ({ about: n * DAY, days: n })),
  ...[1, 3, 12].map((n) => ({ about: n * 30 * DAY, months: n })),
];

// ticks are at most max round times between two.
export function ticks(from: number, until: number, max: number): Tick[] {
  const step = STEPS.find((s) => (until - from) / s.about <= max) ?? STEPS[STEPS.length - 1]!;
  return times(step, from, until).map((at) => {
    const d = new Date(at);
    const midnight = d.getHours() === 0 && d.getMinutes() === 0 && d.getSeconds() === 0;
    if (step.months) {
      const january = d.getMonth() === 0;
      return {
        at,
        label: january ? String(d.getFullYear()) : d.getFullYear() + "-" + two(d.getMonth() + 1),
        strong: january,
      };
    }
    if (step.days || midnight) return { at, label: date(at), strong: !step.days };
    return { at, label: clock(at, step.about < MINUTE), strong: false };
  });
}

function times(step: Step, from: number, until: number): number[] {
  const found: number[] = [];
  const push = (at: number) => {
    if (at >= from && at <= until && at !== found[found.length - 1]) found.push(at);
  };
  const d = new Date(from);
  if (step.months) {
    const first = Math.floor(d.getMonth() / step.months) * step.months;
    for (let m = first, at = 0; at <= until; m += step.months) push((at = new Date(d.getFullYear(), m, 1).getTime()));
  } else if (step.days) {
    // Days are counted since 1970 and weeks begin on Monday, so that ticks keep their place
    // over the end of a month and while the picture moves.
    const day = Math.floor(Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) / DAY);
    const back = step.days === 7 ? (d.getDay() + 6) % 7 : day % step.days;
    for (let i = -back, at = 0; at <= until; i += step.days) {
      push((at = new Date(d.getFullYear(), d.getMonth(), d.getDate() + i).getTime()));
    }
  } else if (step.hours) {
    for (let i = 0, at = 0; at <= until; i++) {
      for (let hour = 0; hour < 24; hour += step.hours) {
        push((at = new Date(d.getFullYear(), d.getMonth(), d.getDate() + i, hour).getTime()));
      }
    }
  } else {
    const shift = d.getTimezoneOffset() * MINUTE;
    for (let at = Math.ceil((from - shift) / step.about) * step.about + shift; at <= until; at += step.about) push(at);
  }
  return found;
}
