// States, qualities and ages as they look everywhere.
import { now } from "../clock";
import type { DeviceState, Quality } from "../api/types";
import { duration, moment, quality as qualityText } from "../format";
import { text } from "../text";
import { Icon, type IconName } from "./icon";

const STATE_ICON: Record<DeviceState, IconName> = { online: "ok", degraded: "warn", offline: "bad", unknown: "unknown" };
const STATE_LEVEL: Record<DeviceState, string> = { online: "normal", degraded: "warn", offline: "bad", unknown: "dim" };

export function State({ of, brief = false }: { of: DeviceState; brief?: boolean }) {
  const says = text.plant.state[of];
  return (
    <span class={`state ${STATE_LEVEL[of]}`} title={brief ? says : undefined}>
      {brief ? <Icon name={STATE_ICON[of]} label={says} /> : <Icon name={STATE_ICON[of]} />}
      {!brief && says}
    </span>
  );
}

const QUALITY_LEVEL: Record<Quality, string> = { good: "normal", uncertain: "warn", bad: "bad" };

export function QualityOf({ of }: { of: Quality | undefined }) {
  if (!of) return <span class="dim">–</span>;
  const icon = of === "good" ? undefined : of === "bad" ? "bad" : "warn";
  return (
    <span class={`state ${QUALITY_LEVEL[of]}`}>
      {icon && <Icon name={icon} />}
      {qualityText(of)}
    </span>
  );
}

/** Of live values, that change faster than anybody reads. */
const FRESH_S = 1;

/** How long ago, and the moment itself as its title; below `fresh` seconds only that it is less. */
export function Age({ of, fresh = FRESH_S }: { of: string | number | null | undefined; fresh?: number }) {
  if (of === null || of === undefined) return <>–</>;
  const at = new Date(of).getTime();
  const seconds = (now.value - at) / 1000;
  return (
    <time dateTime={new Date(at).toISOString()} title={moment(of, true)}>
      {seconds < fresh ? `< ${duration(fresh)}` : duration(Math.round(seconds))}
    </time>
  );
}
