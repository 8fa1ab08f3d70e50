// The numbers of the whole plant; each leads to what it is made of.
import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import type { Device, DeviceState, Gateway, Plant } from "../../api/types";
import { bytes, count, duration, rough } from "../../format";
import { text } from "../../text";
import { to } from "../../router";
import { STATES } from "./tree";
import { lagIsHigh } from "./wrong";

export function Numbers({ plant }: { plant: Plant }) {
  const { number: name, about } = text.plant;
  // Without the broker nobody knows what is now.
  const living = plant.broker.connected ? plant.gateways.filter((one) => one.state === "online") : [];
  const rate = sum(living, "readings_per_second");
  const spool = sum(living, "spool_messages");
  return (
    <dl class="numbers">
      {STATES.map((state) => (
        <States key={state} state={state} devices={plant.items} />
      ))}
      <Number name={name.readings} href="#gateways">
        {rough(rate)}
        {rate !== null && <small>{name.perSecond}</small>}
      </Number>
      <Number name={name.lateness} title={about.lateness} href="#gateways">
        {duration(most(living, "lateness_p99"))}
      </Number>
      <Number name={name.spool} title={about.spool} href="#gateways" level={spool && spool > 1000 ? "warn" : ""}>
        {count(spool)} {spool !== null && <small>{bytes(sum(living, "spool_bytes"))}</small>}
      </Number>
      <Number name={name.receipts} title={about.receipts} href="#gateways">
        {count(sum(living, "receipts_outstanding"))}
      </Number>
      <Number name={name.lag} title={about.lag} href="#ingestion" level={lagIsHigh(plant) ? "warn" : ""}>
        {duration(plant.ingestion.lag_seconds)}
      </Number>
      <Number name={name.broker} href="/about" level={!plant.broker.connected ? "bad" : ""}>
        {connected(plant.broker)}
      </Number>
      <Number name={name.database} href="/about" level={!plant.database.connected ? "bad" : ""}>
        {connected(plant.database)}
      </Number>
    </dl>
  );
}

function States({ state, devices }: { state: DeviceState; devices: readonly Device[] }) {
  const many = devices.filter((device) => device.state === state).length;
  if (!many && state === "unknown") return null;
  const level = !many || state === "online" || state === "unknown" ? "" : state === "offline" ? "bad" : "warn";
  return (
    <Number name={text.plant.state[state]} href={to("/plant", { state })} level={level}>
      {count(many)}
    </Number>
  );
}

function Number(props: { name: string; href: string; title?: string; level?: string; children: ComponentChildren }) {
  const id = useId();
  return (
    <div class={`number ${props.level ?? ""}`} title={props.title}>
      <dt id={id}>{props.name}</dt>
      <dd>
        <a href={props.href} aria-describedby={id}>
          {props.children}
        </a>
      </dd>
    </div>
  );
}

type Measure = "readings_per_second" | "lateness_p99" | "spool_messages" | "spool_bytes" | "receipts_outstanding";

function known(of: readonly Gateway[], what: Measure): number[] {
  return of.map((one) => one[what]).filter((value) => value !== null);
}

function sum(of: readonly Gateway[], what: Measure): number | null {
  const values = known(of, what);
  return values.length ? values.reduce((a, b) => a + b, 0) : null;
}

function most(of: readonly Gateway[], what: Measure): number | null {
  const values = known(of, what);
  return values.length ? Math.max(...values) : null;
}

function connected(of: { connected: boolean }): string {
  return of.connected ? text.plant.number.connected : text.plant.number.away;
}
