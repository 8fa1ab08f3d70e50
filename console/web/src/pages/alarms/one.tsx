// One alarm: what it says, what to do, and all that happened to it.
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { alarmsChanged } from "../../api/live";
import { usePages } from "../../api/pages";
import { mayWrite } from "../../api/person";
import type { Alarm } from "../../api/types";
import { useAlarms } from "../../api/alarms";
import { moment } from "../../format";
import { toDevice } from "../../router";
import { text } from "../../text";
import { isHidden, nameOf, PriorityOf, StateOf, toTrend } from "../../ui/alarm";
import { Icon } from "../../ui/icon";
import { Measured } from "../../ui/measured";
import { Missing, Notice, Status } from "../../ui/messages";
import { Do, possible } from "./do";
import { Events } from "./events";

const MOST = 1_000;
const SETTLE_MS = 1_000; // until an event is stored, about

export function OneAlarm({ id }: { id: string }) {
  const active = useAlarms({ state: "active", limit: MOST });
  const shelved = useAlarms({ state: "shelved", limit: MOST });
  const pages = usePages(`alarms/${id}/journal`, {});
  useEffect(() => {
    const timer = setTimeout(pages.again, SETTLE_MS);
    return () => clearTimeout(timer);
  }, [alarmsChanged.value]);
  const now = [...(active.data?.items ?? []), ...(shelved.data?.items ?? [])].find((one) => one.id === id);
  const shown = now ?? pages.items.find((one) => one.id === id);
  const trend = shown && toTrend(shown);
  return (
    <>
      <p>
        <a href="/alarms">{text.alarms.back}</a>
      </p>
      <h1>{shown ? nameOf(shown) : text.nav.alarms}</h1>
      <Status of={active} />
      {active.data && <Missing parts={active.data.missing} />}
      {shown && (
        <>
          <Facts alarm={shown} />
          {active.data && shelved.data && !now && <Notice kind="info">{text.alarms.over}</Notice>}
          <p class="bar">
            {now && mayWrite.value && <Do alarm={now} actions={possible(now)} done={active.again} />}
            {trend && (
              <a class="button" href={trend}>
                <Icon name="trend" /> {text.alarms.trend}
              </a>
            )}
          </p>
        </>
      )}
      <section aria-labelledby="journal">
        <h2 id="journal">{text.alarms.journal}</h2>
        <Status of={{ data: pages.first, problem: pages.problem, asking: pages.asking, again: pages.again }} />
        {pages.items.length > 0 && <Events items={pages.items} />}
        {pages.more && (
          <p>
            <button onClick={pages.more}>{text.common.more}</button>
          </p>
        )}
      </section>
    </>
  );
}

function Facts({ alarm }: { alarm: Alarm }) {
  const { head } = text.alarms;
  const facts: [string, ComponentChildren][] = [
    [head.text, alarm.text],
    [head.state, <StateOf key="state" alarm={alarm} />],
    [head.priority, <PriorityOf key="priority" alarm={alarm} />],
    [head.reason, isHidden(alarm) ? alarm.reason : ""],
    [head.time, moment(alarm.occurrence)],
    [head.value, <Measured key="value" alarm={alarm} />],
    [text.alarms.response, alarm.response],
    [text.tags.head.device, <a key="device" href={toDevice(alarm.device)}>{alarm.device}</a>],
  ];
  return (
    <dl class="facts">
      {facts
        .filter(([, of]) => of !== "")
        .map(([name, of]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{of}</dd>
          </div>
        ))}
    </dl>
  );
}
