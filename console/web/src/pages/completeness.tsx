// Whether everything that was due was read, sent and stored; and what became of the rest.
import { useMemo, useState } from "preact/hooks";
import { useAsk } from "../api/ask";
import type { Asked } from "../api/http";
import type { Cause, Hour } from "../api/types";
import { count, duration, moment } from "../format";
import { go, query, to, toDevice } from "../router";
import { text } from "../text";
import { Icon } from "../ui/icon";
import { Empty, Notice, Status } from "../ui/messages";

const COUNTS = ["due", "read", "suppressed", "sent", "receipted", "stored", "duplicate", "late", "rejected", "uncounted", "missing"] as const;
const HOUR_MS = 3_600_000;
const SHOWN = 300;

function midnight(): Date {
  const at = new Date();
  at.setHours(0, 0, 0, 0);
  return at;
}

/** `2026-11-26` in this browser's time zone. */
function dayOf(at: Date): string {
  return `${at.getFullYear()}-${String(at.getMonth() + 1).padStart(2, "0")}-${String(at.getDate()).padStart(2, "0")}`;
}

/** Beginnings in milliseconds: 23 or 25 of them where clocks change. */
function hoursOf(from: Date, until: Date): number[] {
  const many = Math.round((until.getTime() - from.getTime()) / HOUR_MS);
  return Array.from({ length: many }, (_, hour) => from.getTime() + hour * HOUR_MS);
}

export default function Completeness() {
  const device = query.value.get("device") ?? "";
  const day = query.value.get("day") ?? dayOf(midnight());
  const from = new Date(`${day}T00:00:00`);
  const until = new Date(from);
  until.setDate(until.getDate() + 1);
  const right = Number.isFinite(from.getTime());
  const asked: Asked = right ? { device, from: from.toISOString(), to: until.toISOString() } : {};
  const answer = useAsk("completeness", asked, 30_000);
  const [find, setFind] = useState("");
  const items = answer.data?.items.filter((one) => one.device.includes(find));
  const show = (next: { device?: string; day?: string }) => go(to("/completeness", { device, day, ...next }), true);
  return (
    <>
      <div class="bar">
        <h1>{text.nav.completeness}</h1>
        <input
          type="date"
          aria-label={text.completeness.day}
          value={day}
          onChange={(event) => show({ day: event.currentTarget.value })}
        />
        <input
          type="search"
          aria-label={text.plant.head.device}
          placeholder={text.plant.head.device}
          value={find}
          onInput={(event) => setFind(event.currentTarget.value)}
        />
        {device && (
          <span class="chip">
            <a href={toDevice(device)}>{device}</a>
            <button class="quiet" onClick={() => show({ device: "" })}>
              <Icon name="close" label={text.common.all} />
            </button>
          </span>
        )}
      </div>
      <p class="dim">{text.completeness.about}</p>
      <Status of={answer} />
      {items && !items.length && <Empty title={text.completeness.empty} detail={text.completeness.emptyDetail} />}
      {items && items.length > 0 && <Day items={items} hours={hoursOf(from, until)} choose={(chosen) => show({ device: chosen })} />}
    </>
  );
}

function Day({ items, hours, choose }: { items: readonly Hour[]; hours: number[]; choose: (device: string) => void }) {
  const missing = items.reduce((sum, one) => sum + one.missing, 0);
  const devices = useMemo(() => byDevice(items), [items]);
  const isNow = Date.now() < hours.at(-1)! + HOUR_MS;
  const isOne = devices.length === 1;
  const rows = isOne ? [...items] : items.filter((one) => one.missing > 0);
  return (
    <>
      {missing ? (
        <Notice kind="bad">
          {text.completeness.missing(missing)} <span class="dim">{causesOf(items)}</span>
        </Notice>
      ) : (
        <Notice kind="ok">{text.completeness.complete}</Notice>
      )}
      {isNow && <p class="dim">{text.completeness.lag}</p>}
      <div class="scroll" tabIndex={0}>
        <table class="rows hours">
          <thead>
            <tr>
              <th>{text.plant.head.device}</th>
              {hours.map((hour) => (
                <th key={hour} class="hour num">
                  {String(new Date(hour).getHours()).padStart(2, "0")}
                </th>
              ))}
              <th class="num">{text.completeness.head.due}</th>
              <th class="num">{text.completeness.head.stored}</th>
              <th class="num">{text.completeness.head.missing}</th>
              {isNow && <th class="num">{text.completeness.asOf}</th>}
            </tr>
          </thead>
          <tbody>
            {devices.slice(0, SHOWN).map((one) => (
              <tr key={one.device}>
                <th scope="row">
                  <button class="quiet link" onClick={() => choose(one.device)}>
                    {one.device}
                  </button>
                </th>
                {hours.map((hour) => (
                  <Cell key={hour} of={one.hours.get(hour)} />
                ))}
                <td class="num">{count(one.due)}</td>
                <td class="num">{count(one.stored)}</td>
                <td class="num">{one.missing ? <span class="state bad">{count(one.missing)}</span> : "0"}</td>
                {isNow && <td class="num">{moment(one.until)}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > 0 && (
        <Details title={isOne ? text.completeness.hours : text.completeness.details} rows={rows.slice(0, SHOWN)} />
      )}
    </>
  );
}

function Cell({ of }: { of: Hour | undefined }) {
  if (!of) return <td class="hour dim">·</td>;
  const says = COUNTS.map((name) => `${text.completeness.head[name]} ${count(of[name])}`).join("\n");
  return (
    <td class={`hour ${of.missing ? "bad" : ""}`} title={says}>
      {of.missing ? <Icon name="bad" label={text.completeness.missing(of.missing)} /> : <Icon name="ok" label={text.completeness.complete} />}
    </td>
  );
}

function Details({ title, rows }: { title: string; rows: readonly Hour[] }) {
  const { head } = text.completeness;
  return (
    <section aria-labelledby="details">
      <h2 id="details">{title}</h2>
      <div class="scroll" tabIndex={0}>
        <table class="rows">
          <thead>
            <tr>
              <th>{text.plant.head.device}</th>
              <th>{head.hour}</th>
              {COUNTS.map((name) => (
                <th key={name} class="num">
                  {head[name]}
                </th>
              ))}
              <th>{head.causes}</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((one) => (
              <tr key={`${one.device} ${one.hour}`}>
                <th scope="row">
                  <a href={toDevice(one.device)}>{one.device}</a>
                </th>
                <td class="num-left nowrap" title={text.completeness.countedUntil(moment(one.until))}>
                  {moment(one.hour)}
                </td>
                {COUNTS.map((name) => (
                  <td key={name} class="num">
                    {name === "missing" && one.missing ? <span class="state bad">{count(one.missing)}</span> : count(one[name])}
                  </td>
                ))}
                <td>
                  {one.causes.map((cause, index) => (
                    <div key={index} class="nowrap">
                      {said(cause)}
                    </div>
                  ))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** Only of what is estimated is it known when it was: the others are counted by the hour. */
function said({ cause, count: many, estimated, from, to: until }: Cause): string {
  const name = text.completeness.cause[cause];
  if (!estimated) return `${name}: ${count(many)}`;
  const seconds = (Date.parse(until) - Date.parse(from)) / 1000;
  return `${name}: ≈ ${count(many)} (${moment(from)}, ${duration(seconds)})`;
}

/** Of all hours together, the most frequent first. */
function causesOf(items: readonly Hour[]): string {
  const sums = new Map<Cause["cause"], number>();
  for (const { causes } of items) for (const one of causes) sums.set(one.cause, (sums.get(one.cause) ?? 0) + one.count);
  return [...sums]
    .toSorted(([, a], [, b]) => b - a)
    .map(([cause, many]) => text.completeness.because(text.completeness.cause[cause], many))
    .join(", ");
}

interface Row {
  device: string;
  hours: Map<number, Hour>;
  due: number;
  stored: number;
  missing: number;
  until: string;
}

/** What lacks most first. */
function byDevice(items: readonly Hour[]): Row[] {
  const found = new Map<string, Row>();
  for (const one of items) {
    const row = found.get(one.device) ?? { device: one.device, hours: new Map(), due: 0, stored: 0, missing: 0, until: "" };
    found.set(one.device, row);
    row.hours.set(Date.parse(one.hour), one);
    row.due += one.due;
    row.stored += one.stored;
    row.missing += one.missing;
    if (one.until > row.until) row.until = one.until;
  }
  return [...found.values()].toSorted((a, b) => b.missing - a.missing || a.device.localeCompare(b.device, undefined, { numeric: true }));
}
