// One device: what is known about it, and where to look next.
import type { ComponentChildren } from "preact";
import { useAsk } from "../../api/ask";
import type { Device } from "../../api/types";
import { count, duration, moment } from "../../format";
import { to } from "../../router";
import { text } from "../../text";
import { Icon } from "../../ui/icon";
import { Notice } from "../../ui/messages";
import { Prose } from "../../ui/prose";
import { Age, State } from "../../ui/state";
import { MOST_TOPICS } from "../trend/view";
import { LastReading } from "./last";
import { remedy } from "./remedy";
import { isWrong } from "./tree";

const LOOKED_THROUGH = 100;

export function DevicePanel({ path, device }: { path: string; device: Device | undefined }) {
  return (
    <section class="card device" aria-labelledby="device">
      <div class="bar">
        <h2 id="device">{path}</h2>
        {device && <State of={device.state} />}
        <a class="button quiet end" href="/plant">
          <Icon name="close" label={text.common.close} />
        </a>
      </div>
      {!device ? <Notice kind="info">{text.remedy.unknown}</Notice> : <Facts device={device} />}
      <p class="ways">
        <TrendOf key={path} path={path} />
        <a class="button" href={to("/tags", { device: path })}>
          {text.plant.tagsOf}
        </a>
        {device && isWrong(device) && (
          <a class="button" href={to("/tags", { device: path, show: "problems" })}>
            {text.plant.problemsOf}
          </a>
        )}
        <a class="button" href={to("/completeness", { device: path })}>
          {text.plant.completenessOf}
        </a>
        <a class="button" href="/files">
          {text.plant.filesOf}
        </a>
      </p>
    </section>
  );
}

/** Of as many of its tags as a trend shows; texts are not drawn. */
function TrendOf({ path }: { path: string }) {
  const tags = useAsk("tags", { device: path, limit: LOOKED_THROUGH }).data?.items ?? [];
  const drawn = tags.filter((tag) => !/string|text/i.test(tag.type ?? "")).slice(0, MOST_TOPICS);
  if (!drawn.length) return null;
  return (
    <a class="button" href={to("/trend", { t: drawn.map((tag) => tag.topic) })}>
      <Icon name="trend" /> {text.trend.title}
    </a>
  );
}

function Facts({ device }: { device: Device }) {
  const { head, breaker } = text.plant;
  return (
    <>
      {isWrong(device) && (
        <Notice kind={device.state === "offline" ? "bad" : "warn"}>
          <strong>{device.reason || text.plant.state[device.state]}</strong> <Prose of={remedy(device)} />
        </Notice>
      )}
      <dl class="facts">
        <Fact name={head.since}>
          {moment(device.since)} (<Age of={device.since} />)
        </Fact>
        <Fact name={head.protocol}>{device.protocol ?? "–"}</Fact>
        <Fact name={head.endpoint}>
          <code>{device.endpoint ?? "–"}</code>
        </Fact>
        <Fact name={head.interval}>{duration(device.interval)}</Fact>
        <Fact name={head.tags}>{count(device.tags)}</Fact>
        <Fact name={head.last}>
          <LastReading of={device} />
        </Fact>
        <Fact name={head.breaker}>{device.breaker ? breaker[device.breaker] : "–"}</Fact>
        <Fact name={head.gateway}>{device.gateway ?? "–"}</Fact>
      </dl>
    </>
  );
}

export function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
