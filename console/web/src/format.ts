// Values, times and sizes as people read them.
import type { Value } from "./api/types";
import { language, text } from "./text";

const DIGITS = 15; // that every double holds
const ROUNDED_DIGITS = 5;
const WHOLE = 10 ** (ROUNDED_DIGITS - 1); // from here on, what is rounded has no fraction: its whole digits all count
const FLOAT32_DIGITS = 9; // that tell every float32 from the others

const number = new Intl.NumberFormat(language, { maximumSignificantDigits: DIGITS });
const rounding = new Intl.NumberFormat(language, { maximumSignificantDigits: ROUNDED_DIGITS });
const plain = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const power = new Intl.NumberFormat(language, { notation: "scientific", maximumSignificantDigits: DIGITS });
const roundPower = new Intl.NumberFormat(language, { notation: "scientific", maximumSignificantDigits: ROUNDED_DIGITS });
const short = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });

/** Written out it would have more digits than a column has room for. */
const isExtreme = (of: number) => of !== 0 && (Math.abs(of) < 1e-4 || Math.abs(of) > Number.MAX_SAFE_INTEGER);

/** A value of a tag with all its digits; integers beyond 2^53 come as strings and stay as they are. */
export function value(of: Value | undefined): string {
  return formatted(of, (n) => (isExtreme(n) ? power : number).format(shortest(n)));
}

/** The same for a list: with five digits, or with all that are whole. */
export function rounded(of: Value | undefined): string {
  return formatted(of, (n) => (isExtreme(n) ? roundPower : Math.abs(n) < WHOLE ? rounding : plain).format(n));
}

function formatted(of: Value | undefined, fraction: (of: number) => string): string {
  if (of === null || of === undefined) return "–";
  if (typeof of === "boolean") return of ? text.value.true : text.value.false;
  if (typeof of === "number") return Number.isInteger(of) && !isExtreme(of) ? plain.format(of) : fraction(of);
  return of;
}

/** A device's float32 is 84.3, and 84.30000305175781 as a double: the fewest digits that say which one it is. */
function shortest(of: number): number {
  if (Math.fround(of) !== of) return of;
  for (let digits = 1; digits < FLOAT32_DIGITS; digits++) {
    const near = Number(of.toPrecision(digits));
    if (Math.fround(near) === of) return near;
  }
  return of;
}

/** The database holds on and off as 1 and 0: `type` is as the device file says. */
export function typed(of: Value | undefined, type: string | null | undefined): Value | undefined {
  return typeof of === "number" && /^bool/i.test(type ?? "") ? of !== 0 : of;
}

const share = new Intl.NumberFormat(language, { style: "percent", maximumSignificantDigits: 2 });

const tenths = new Intl.NumberFormat(language, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** For columns of shares of one whole: rounded to tenths, so that their sum shows none that is not there. */
export const shareOf = (of: number) => tenths.format(of);
export const percent = (of: number | null | undefined) => (of === null || of === undefined ? "–" : share.format(of));
export const count = (of: number | null | undefined) => (of === null || of === undefined ? "–" : plain.format(of));
export const rough = (of: number | null | undefined) => (of === null || of === undefined ? "–" : short.format(of));

export function bytes(of: number | null | undefined): string {
  if (of === null || of === undefined) return "–";
  const step = of < 1 ? 0 : Math.min(4, Math.floor(Math.log10(of) / 3));
  return `${short.format(of / 1000 ** step)} ${["B", "kB", "MB", "GB", "TB"][step]}`;
}

/** A length of time: `4 s`, `12 min`, `3 h`, `5 d`. */
export function duration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const s = Math.max(0, seconds);
  if (s < 0.0995) return `${Math.round(s * 1000)} ms`;
  if (s < 9.95) return `${short.format(Math.round(s * 10) / 10)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  if (s < 172800) return `${Math.round(s / 3600)} h`;
  return `${plain.format(Math.round(s / 86400))} ${text.unit.days}`;
}

const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
// English dates as ISO 8601 has them: 11/12 is two days.
const day = new Intl.DateTimeFormat(language === "en" ? "sv" : language, { year: "numeric", month: "2-digit", day: "2-digit" });

/** A moment in this browser's time zone; today's without the date. */
export function moment(at: string | number | null | undefined, milliseconds = false): string {
  if (at === null || at === undefined) return "–";
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "–";
  const time = clock.format(date) + (milliseconds ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "");
  return isOneDay(date, new Date()) ? time : `${day.format(date)} ${time}`;
}

/** From one moment until another: with both dates, unless they are of one day. */
export function period(from: string | number, to: string | number): string {
  const ends = [new Date(from), new Date(to)] as const;
  const said = isOneDay(...ends) ? ends.map((one) => moment(one.getTime())) : ends.map((one) => `${day.format(one)} ${clock.format(one)}`);
  return said.join(" – ");
}

const isOneDay = (one: Date, other: Date) => one.toDateString() === other.toDateString();

const hours = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hour12: false });
const dayAlone = new Intl.DateTimeFormat(language, { month: "2-digit", day: "2-digit" });

/** For axes: `20:30`. */
export const timeOfDay = (ms: number) => hours.format(ms);
/** For axes: `11-26`, in German `26.11.`. */
export const dayOfYear = (ms: number) => (language === "en" ? local(ms).slice(5, 10) : dayAlone.format(ms));

export const { timeZone } = Intl.DateTimeFormat().resolvedOptions();

/** `2026-11-26T15:10:08` in this browser's time zone, as a field of date and time takes it. */
export function local(ms: number): string {
  return new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

export function quality(of: string | null | undefined): string {
  return of === "good" || of === "uncertain" || of === "bad" ? text.quality[of] : (of ?? "–");
}
