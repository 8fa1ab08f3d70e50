// Alarms as they look everywhere: each priority has a shape and a word.
import type { Alarm, Priority } from "../api/types";
import { moment } from "../format";
import { to } from "../router";
import { text } from "../text";
import { Icon } from "./icon";

const LEVEL: Record<Priority, string> = { critical: "bad", high: "bad", medium: "warn", low: "normal" };
const AROUND_MS = 600_000; // of a trend, before and after

export const nameOf = (alarm: Alarm) => [alarm.device, alarm.tag, alarm.name].filter(Boolean).join("/");

export const isHidden = ({ state }: Alarm) => state === "shelved" || state === "suppressed" || state === "out-of-service";

/** Whether it waits for a person. */
export const isCalling = (alarm: Alarm) => !alarm.acknowledged && !isHidden(alarm) && alarm.state !== "normal";

export function PriorityOf({ alarm }: { alarm: Alarm }) {
  return (
    <span class={`state ${isCalling(alarm) ? LEVEL[alarm.priority] : "dim"}`}>
      <Icon name={alarm.priority} />
      {text.alarms.priorities[alarm.priority]}
    </span>
  );
}

/** A priority by itself, which calls nobody. */
export function Level({ of }: { of: Priority }) {
  return (
    <span class="state">
      <Icon name={of} />
      {text.alarms.priorities[of]}
    </span>
  );
}

export function StateOf({ alarm }: { alarm: Alarm }) {
  return (
    <>
      {isCalling(alarm) ? <strong>{text.alarms.state[alarm.state]}</strong> : text.alarms.state[alarm.state]}
      {alarm.until && isHidden(alarm) && ` ${text.alarms.until(moment(alarm.until))}`}
    </>
  );
}

export const toAlarm = (alarm: Alarm) => to("/alarms", { alarm: alarm.id });

/** Its tag around the moment at which it was raised; a device's own alarm has no tag. */
export function toTrend(alarm: Alarm): string | null {
  if (!alarm.tag) return null;
  const at = Date.parse(alarm.occurrence);
  const [from, end] = [at - AROUND_MS, at + AROUND_MS].map((ms) => new Date(ms).toISOString());
  return to("/trend", { t: `dev/${alarm.device}/${alarm.tag}`, from, to: end });
}
