// The audit's rows in words.
import type { Entry } from "../../api/types";
import { duration, moment, value } from "../../format";
import { text } from "../../text";
import { isUnknown, requested, type Action } from "./actions";

const says = (table: Record<string, string>, name: string) => (Object.hasOwn(table, name) ? table[name]! : name);

export const eventName = (event: string) => says(text.audit.events, event);

/** From which address, and by which kind of login. */
export const origin = ({ entry }: Action) => [entry.address, entry.via && says(text.audit.via, entry.via)].filter(Boolean).join(", ");

export function outcome(one: Entry): string {
  if (one.ok === null) return isUnknown(one) ? text.audit.unknown : text.audit.open;
  return one.ok ? text.audit.ok : text.audit.refused;
}

/** What the console knows, and what the gateway does. */
export const outcomes = ({ entry, gateway }: Action) =>
  gateway ? `${outcome(entry)}, ${text.audit.ofGateway(outcome(gateway))}` : outcome(entry);

/** Objects as their names and values: `role: operator`. */
export function shown(of: unknown): string {
  if (of === null || of === undefined) return "";
  if (Array.isArray(of)) return of.map(shown).join(", ");
  if (typeof of !== "object") return value(of as string | number | boolean);
  return Object.entries(of)
    .map(([name, each]) => `${says(text.audit.details, name)}: ${shortly(name, each)}`)
    .join(", ");
}

/** A request about an alarm has for its value how long it is shelved for. */
export const wanted = (action: Action) => {
  const of = requested(action);
  return action.entry.event === "alarm shelve" && typeof of === "number" ? duration(of) : shown(of);
};

const ELSEWHERE = new Set(["unknown", "alarm", "value", "was"]); // other columns have it

export function detail({ entry, gateway }: Action): string {
  const known = Object.entries({ ...(gateway?.ok === entry.ok ? {} : errorOf(gateway)), ...entry.detail });
  const told = known.filter(([name, each]) => each !== null && each !== "" && !ELSEWHERE.has(name));
  return [...told.filter((one) => !hasLines(one)), ...told.filter(hasLines)]
    .map(([name, each]) => `${says(text.audit.details, name)}:${hasLines([name, each]) ? "\n" : " "}${shortly(name, each)}`)
    .join(", ");
}

/** As a difference of files has: it comes last, on lines of its own. */
const hasLines = ([, of]: [string, unknown]) => typeof of === "string" && of.includes("\n");

const errorOf = (gateway: Entry | undefined) => (gateway?.detail?.error ? { gateway: gateway.detail.error } : {});

function shortly(name: string, of: unknown): string {
  if (name === "occurrence" && typeof of === "number") return moment(of, true);
  if (name === "seconds" && typeof of === "number") return duration(of);
  if (name === "role" && typeof of === "string") return says(text.role, of);
  if (name === "state" && typeof of === "string") return says(text.alarms.state, of);
  if (typeof of === "number" || typeof of === "boolean") return value(of);
  if (typeof of !== "object" || of === null) return String(of);
  return "value" in of ? String(of.value) : shown(of);
}
