// The audit's rows as what people did: console and gateway each record an action.
import type { Entry } from "../../api/types";

/** What somebody did; `gateway` is the gateway's own row of the same, if the console's row has one. */
export interface Action {
  entry: Entry;
  gateway: Entry | undefined;
}

const TOGETHER_MS = 60_000; // between the two rows of an action: clocks differ

/** It was tried, and nobody knows what became of it. */
export const isUnknown = (one: Entry) => one.ok === null && one.detail?.unknown === true;

/** Actions, in the order of the rows: without attempts whose outcome is there, and a gateway's row with the console's. */
export function merged(items: readonly Entry[]): Action[] {
  const kept = settled(items);
  const open = Map.groupBy(kept.filter((one) => one.source === "gateway"), keyOf);
  const taken = new Set<Entry>();
  const actions = kept.map((entry): Action => {
    if (entry.source === "gateway") return { entry, gateway: undefined };
    const gateway = (open.get(keyOf(entry)) ?? []).find((one) => !taken.has(one) && areTogether(one, entry));
    if (gateway) taken.add(gateway);
    return { entry, gateway };
  });
  return actions.filter(({ entry }) => !taken.has(entry));
}

const areTogether = (a: Entry, b: Entry) => Math.abs(Date.parse(a.time) - Date.parse(b.time)) < TOGETHER_MS;

/** The same for both rows of an action. */
function keyOf(one: Entry): string {
  const alone = { entry: one, gateway: undefined };
  const { occurrence = null, reason = "" } = one.detail ?? {};
  const asked = one.event === "write" ? requested(alone) : [occurrence === 0 ? null : occurrence, reason];
  return JSON.stringify([one.event, one.person, topic(alone), asked]);
}

/** Without the rows that say what was attempted, where another says what came of it. */
function settled(items: readonly Entry[]): Entry[] {
  const after = new Map<string, number>();
  return items.filter((one) => {
    if (one.source !== "console") return true;
    const key = JSON.stringify([one.event, one.person, one.topic, one.new]);
    const open = after.get(key) ?? 0;
    const isAttempt = one.ok === null && !isUnknown(one);
    after.set(key, isAttempt ? Math.max(open - 1, 0) : open + 1);
    return !isAttempt || !open;
  });
}

/** A gateway's row of an alarm names its tag, and the alarm in its details. */
export function topic({ entry }: Action): string {
  const { alarm } = entry.detail ?? {};
  return entry.source === "gateway" && typeof alarm === "string" ? alarm : (entry.topic ?? "");
}

export const before = ({ entry, gateway }: Action): unknown => entry.old ?? gateway?.old;

/** A gateway records beside it what the device holds then. */
export const requested = ({ entry }: Action): unknown => (entry.source === "gateway" ? (entry.detail?.value ?? entry.new) : entry.new);
