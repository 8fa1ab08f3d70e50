// On every page: how many alarms wait for a person, and the most urgent one.
import { useAlarms } from "../api/alarms";
import { moment } from "../format";
import { text } from "../text";
import { isCalling, nameOf, PriorityOf, toAlarm } from "./alarm";
import { Icon } from "./icon";
import { setSound, sound } from "./sound";

const FIRST = { state: "active", limit: 1 };

export function AlarmBar() {
  const { data, problem } = useAlarms(FIRST);
  const first = data?.items[0];
  const calls = first !== undefined && isCalling(first);
  return (
    <section class={calls ? "alarm-bar calling" : "alarm-bar"} aria-label={text.alarms.bar}>
      <span role="status">
        <a href="/alarms">
          {problem || data?.missing.includes("broker") ? text.alarms.unknown : data ? said(data.counts) : text.common.loading}
        </a>
      </span>
      {first && calls && (
        <a class="first" href={toAlarm(first)}>
          <PriorityOf alarm={first} /> {nameOf(first)}: {first.text} <span class="dim">{moment(first.occurrence)}</span>
        </a>
      )}
      <button
        class="quiet end"
        aria-pressed={sound.value}
        title={sound.value ? text.alarms.soundOn : text.alarms.soundOff}
        onClick={() => setSound(!sound.value)}
      >
        <Icon name="sound" label={sound.value ? text.alarms.soundOn : text.alarms.soundOff} />
      </button>
    </section>
  );
}

function said({ active, unacknowledged }: { active: number; unacknowledged: number }): string {
  if (unacknowledged) return text.alarms.calling(unacknowledged);
  return active ? text.alarms.standing(active) : text.alarms.none;
}
