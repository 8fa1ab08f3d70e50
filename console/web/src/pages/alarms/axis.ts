// Round numbers and round times for an axis.
import { dayOfYear, timeOfDay } from "../../format";

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const STEPS_MS = [10, 30, 60, 120, 240, 360, 720].map((minutes) => minutes * MINUTE_MS).concat([1, 2, 7, 14].map((days) => days * DAY_MS));
const MOST_TICKS = 6;
const TOPS = [1.2, 1.6, 2, 3, 4, 6, 8, 10, 12]; // whose halves are round as well

/** The least round number that is not below, at least 12. */
export function niceTop(most: number): number {
  const power = 10 ** Math.max(1, Math.floor(Math.log10(Math.max(1, most))));
  return Math.round(TOPS.map((top) => top * power).find((top) => top >= most)!);
}

export interface Tick {
  at: number;
  says: string;
}

/** Round times of this browser's zone in the range, few enough for a phone; a midnight is a date. */
export function ticks(from: number, until: number): Tick[] {
  if (!(from < until)) return [];
  const step = STEPS_MS.find((one) => (until - from) / one <= MOST_TICKS) ?? STEPS_MS.at(-1)!;
  const midnight = new Date(from);
  midnight.setHours(0, 0, 0, 0);
  const found: Tick[] = [];
  for (let number = 0; ; number++) {
    // By the calendar: where clocks change, days have 23 or 25 hours.
    const next = new Date(midnight);
    next.setMinutes((number * step) / MINUTE_MS);
    const at = next.getTime();
    if (at >= until) return found;
    if (at >= from) found.push({ at, says: next.getHours() || next.getMinutes() ? timeOfDay(at) : dayOfYear(at) });
  }
}
