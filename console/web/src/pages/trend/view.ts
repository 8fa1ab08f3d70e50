// What a trend shows, as it stands in the address: a link reproduces it.
import { to } from "../../router";

/** Times in milliseconds. `last` is a range that ends now; without it, the range is from `from` to `to`. */
export interface View {
  topics: string[];
  hidden: string[];
  last: string | null;
  from: number;
  to: number;
}

const UNIT_MS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
export const RANGES = ["15m", "1h", "8h", "1d", "7d", "30d", "365d"] as const;
export const MOST_TOPICS = 20;
const SHORTEST_MS = 1_000;
const LONGEST_MS = 20 * 365 * 86_400_000;

export function length(range: string): number | null {
  const found = /^(\d{1,4})([mhd])$/.exec(range);
  return found ? Number(found[1]) * UNIT_MS[found[2]!]! : null;
}

export function parse(query: URLSearchParams, now: number): View {
  const topics = [...new Set(query.getAll("t"))].slice(0, MOST_TOPICS);
  const hidden = query.getAll("hide");
  const from = Date.parse(query.get("from") ?? "");
  const end = Date.parse(query.get("to") ?? "");
  if (from < end) return { topics, hidden, last: null, from, to: end };
  const last = query.get("last") ?? "1h";
  const range = length(last);
  return range
    ? { topics, hidden, last, from: now - range, to: now }
    : { topics, hidden, last: "1h", from: now - UNIT_MS.h!, to: now };
}

export function link(view: View): string {
  const range = view.last ? { last: view.last } : { from: iso(view.from), to: iso(view.to) };
  return to("/trend", { t: view.topics, hide: view.hidden.filter((one) => view.topics.includes(one)), ...range });
}

export const iso = (ms: number) => new Date(ms).toISOString();

/** Another range, within what can be asked for. */
export function at(view: View, from: number, end: number): View {
  const middle = (from + end) / 2;
  const half = Math.min(Math.max(end - from, SHORTEST_MS), LONGEST_MS) / 2;
  return { ...view, last: null, from: Math.round(middle - half), to: Math.round(middle + half) };
}

export function pan(view: View, share: number): View {
  const by = (view.to - view.from) * share;
  return at(view, view.from + by, view.to + by);
}

/** `factor` below 1 shows less; `around` is where in the range stays in place, from 0 to 1. */
export function zoom(view: View, factor: number, around = 0.5): View {
  const range = view.to - view.from;
  const from = view.from + range * around * (1 - factor);
  return at(view, from, from + range * factor);
}
