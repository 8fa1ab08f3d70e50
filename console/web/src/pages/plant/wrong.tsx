// What is wrong now, since when, why, and what to do about it.
import type { Device, Plant } from "../../api/types";
import { to, toDevice } from "../../router";
import { text } from "../../text";
import { Notice } from "../../ui/messages";
import { Age, State } from "../../ui/state";
import { Icon } from "../../ui/icon";
import { Prose } from "../../ui/prose";
import { remedy } from "./remedy";
import { isWrong, worstFirst } from "./tree";

const LAG_SECONDS = 30;
const SHOWN = 100;

/** How far the slowest ingester is behind. */
export const lagIsHigh = ({ ingestion }: Plant): boolean => (ingestion.lag_seconds ?? 0) > LAG_SECONDS;

interface Row {
  key: string;
  what: preact.ComponentChildren;
  since: string | null;
  why: string;
  remedy: string;
}

export function Wrong({ plant }: { plant: Plant }) {
  const rows = [...ofParts(plant), ...ofDevices(plant)];
  const { head } = text.plant;
  return (
    <section aria-labelledby="wrong">
      <h2 id="wrong">
        {text.plant.wrong} {rows.length > 0 && <span class="tally">{rows.length}</span>}
      </h2>
      {!rows.length && plant.items.length > 0 && <Notice kind="ok">{text.plant.nothingWrong}</Notice>}
      {rows.length > 0 && (
        <table class="rows wrong stack">
          <thead>
            <tr>
              <th>{head.what}</th>
              <th class="num">{head.since}</th>
              <th>{head.why}</th>
              <th>{head.remedy}</th>
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, SHOWN).map((row) => (
              <tr key={row.key}>
                <td>{row.what}</td>
                <td class="num" data-label={head.since}>
                  <Age of={row.since} />
                </td>
                <td data-label={head.why}>{row.why || "–"}</td>
                <td data-label={head.remedy}>
                  <Prose of={row.remedy} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function part(name: string, level: "bad" | "warn", detail = "") {
  return (
    <span class={`state ${level}`}>
      <Icon name={level} />
      {name} {detail && <code>{detail}</code>}
    </span>
  );
}

function ofParts(plant: Plant): Row[] {
  const rows: Row[] = [];
  const add = (what: Row["what"], key: string, why: string, remedy: string, since: Row["since"] = null) =>
    rows.push({ key, what, since, why, remedy });
  if (!plant.broker.connected) {
    add(part(text.plant.brokerAway, "bad"), "broker", plant.broker.reason ?? "", text.remedy.broker, plant.broker.since);
  }
  if (!plant.database.connected) add(part(text.plant.databaseAway, "bad"), "database", plant.database.reason ?? "", text.remedy.database, plant.database.since);
  // Without the broker nobody knows whether a gateway runs.
  for (const gateway of plant.broker.connected ? plant.gateways.filter((one) => one.state === "offline") : []) {
    const name = `${gateway.group}/${gateway.member}`;
    add(part(text.plant.gatewayGone, "bad", name), `gateway ${name}`, "", text.remedy.gateway, gateway.since ?? gateway.ts);
  }
  if (lagIsHigh(plant)) add(part(text.plant.lagHigh, "warn"), "lag", "", text.remedy.lag);
  return rows;
}

/** Of devices that are unknown because their gateway or the broker is away, only how many: those have their rows. */
function ofDevices(plant: Plant): Row[] {
  const gone = new Set(plant.gateways.filter((one) => one.state === "offline").map((one) => one.member));
  const isExplained = ({ state, gateway }: Device) =>
    state === "unknown" && (!plant.broker.connected || (gateway !== null && gone.has(gateway)));
  const wrong = plant.items.filter(isWrong);
  const explained = wrong.filter(isExplained).length;
  const rows = wrong
    .filter((device) => !isExplained(device))
    .toSorted(worstFirst)
    .map((device) => ({
      key: device.path,
      what: (
        <>
          <State of={device.state} /> <a href={toDevice(device.path)}>{device.path}</a>
        </>
      ),
      // Of what is unknown, only the state before has a time.
      since: device.state === "unknown" ? null : device.since,
      why: device.reason,
      remedy: remedy(device),
    }));
  return explained ? [...rows, unknown(explained, plant)] : rows;
}

function unknown(many: number, plant: Plant): Row {
  const what = (
    <>
      <State of="unknown" /> <a href={to("/plant", { state: "unknown" })}>{text.plant.count(many)}</a>
    </>
  );
  const why = plant.broker.connected ? text.plant.gatewayGone : text.plant.brokerAway;
  return { key: "unknown", what, since: null, why, remedy: text.remedy.lastKnown };
}
