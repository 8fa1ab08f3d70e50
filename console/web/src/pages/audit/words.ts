// The audit's rows in words.
import type { Entry } from "../../api/types";
import { moment, value } from "../../format";
import { text } from "../../text";
import { isUnknown, type Action } from "./actions";

const says = (table: Record<string, string>, name: string) => (Object.hasOwn(table, name) ? table[name]! : name);

export const eventName = (event: string) => says(text.audit.events, event);

export function outcome(one: Entry): string {
  if (one.ok === null) return isUnknown(one) ? text.audit.unknown : text.audit.open;
  return one.ok ? text.audit.ok : text.audit.refused;
}

/** What the console knows, and what the gateway does. */
export const outcomes = ({ entry, gateway }: Action) =>
  gateway ? `${outcome(entry)}, ${text.audit.ofGateway(outcome(gateway))}` : outcome(entry);

export function shown(of: unknown): string {
  if (of === null || of === undefined) return "";
  return typeof of === "object" ? JSON.stringify(of) : value(of as string | number | boolean);
}

const ELSEWHERE = new Set(["unknown", "alarm", "value", "was"]); // other columns have it

export function detail({ entry, gateway }: Action): string {
  const known = Object.entries({ ...(gateway?.ok === entry.ok ? {} : errorOf(gateway)), ...entry.detail });
  return known
    .filter(([name, each]) => each !== null && each !== "" && !ELSEWHERE.has(name))
    .map(([name, each]) => `${says(text.audit.details, name)}: ${shortly(name, each)}`)
    .join(", ");
}

const errorOf = (gateway: Entry | undefined) => (gateway?.detail?.error ? { gateway: gateway.detail.error } : {});

function shortly(name: string, of: unknown): string {
  if (name === "occurrence" && typeof of === "number") return moment(of, true);
  if (name === "state" && typeof of === "string") return says(text.alarms.state, of);
  if (typeof of === "number" || typeof of === "boolean") return value(of);
  if (typeof of !== "object" || of === null) return String(of);
  return "value" in of ? String(of.value) : JSON.stringify(of);
}
