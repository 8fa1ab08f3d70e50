// Who did what, when, from where; and what was refused.
import { useState } from "preact/hooks";
import type { Asked } from "../api/http";
import { usePages } from "../api/pages";
import { isOperator } from "../api/person";
import type { Entry } from "../api/types";
import { moment, value } from "../format";
import { text } from "../text";
import { brief } from "../topic";
import { CopyButton } from "../ui/copied";
import { Icon } from "../ui/icon";
import { Empty, Notice, Status } from "../ui/messages";
import { Picker } from "../ui/picker";
import { csv, save } from "../ui/save";

/** What consoles and gateways record. */
const EVENTS = [
  "write",
  "alarm acknowledge",
  "alarm shelve",
  "alarm unshelve",
  "alarm suppress",
  "alarm unsuppress",
  "alarm out-of-service",
  "alarm in-service",
  "alarm comment",
  "alarm reset",
  "notification retried",
  "apply-files",
  "check-files",
  "rollback-files",
  "login",
  "login refused",
  "login limited",
  "oidc refused",
  "session refused",
  "sessions ended",
  "key added",
  "key revoked",
  "key refused",
  "user added",
  "user changed",
  "user removed",
  "role refused",
  "read-only",
  "origin refused",
  "csrf refused",
];

export default function Audit() {
  const [asked, setAsked] = useState<Record<string, string>>({});
  const set = (name: string, value: string) => setAsked({ ...asked, [name]: value.trim() });
  const day = (name: string, date: string, days: number) => {
    const at = new Date(`${date}T00:00`);
    at.setDate(at.getDate() + days);
    set(name, Number.isNaN(at.getTime()) ? "" : at.toISOString());
  };
  return (
    <>
      <div class="bar">
        <h1>{text.nav.audit}</h1>
        <input
          type="search"
          aria-label={text.audit.head.person}
          placeholder={text.audit.head.person}
          // Names are kept in small letters.
          onChange={(event) => set("person", event.currentTarget.value.toLowerCase())}
        />
        <select aria-label={text.audit.head.event} onChange={(event) => set("event", event.currentTarget.value)}>
          <option value="">{text.audit.everything}</option>
          {EVENTS.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        <label class="check">
          {text.audit.from}
          <input type="date" onChange={(event) => day("from", event.currentTarget.value, 0)} />
        </label>
        <label class="check">
          {text.audit.to}
          <input type="date" onChange={(event) => day("to", event.currentTarget.value, 1)} />
        </label>
        {asked.topic ? (
          <span class="chip">
            {brief(asked.topic)}
            <button class="quiet" onClick={() => set("topic", "")}>
              <Icon name="close" label={text.common.all} />
            </button>
          </span>
        ) : (
          <Picker label={text.audit.head.topic} chosen={[]} pick={(topic) => set("topic", topic)} />
        )}
      </div>
      {isOperator.value ? (
        <AuditTable asked={asked} buttons />
      ) : (
        <Notice kind="info">{text.common.needs(text.role.operator)}</Notice>
      )}
    </>
  );
}

interface Props {
  asked: Asked;
  without?: readonly string[];
  buttons?: boolean;
}

const ALL: readonly string[] = [];

export function AuditTable({ asked, without = ALL, buttons = false }: Props) {
  const pages = usePages("audit", asked);
  const { head } = text.audit;
  const rows = () => [
    Object.values(head),
    ...pages.items.map((one) => [
      one.time,
      one.person,
      one.event,
      one.topic,
      shown(one.old),
      shown(requested(one)),
      outcome(one),
      detail(one),
      `${one.via} ${one.address}`,
    ]),
  ];
  const columns = (Object.keys(head) as (keyof typeof head)[]).filter((name) => !without.includes(name));
  return (
    <>
      <Status of={{ data: pages.first, problem: pages.problem, asking: pages.asking, again: pages.again }} />
      {pages.first && !pages.items.length && <Empty title={text.audit.empty} />}
      {pages.items.length > 0 && (
        <>
          {buttons && (
            <div class="bar">
              <CopyButton label={text.common.copy} rows={rows} />
              <button onClick={() => save("audit.csv", csv(rows()))}>
                <Icon name="download" /> {text.common.csv}
              </button>
            </div>
          )}
          <div class="scroll" tabIndex={0}>
            <table class="rows stack">
              <thead>
                <tr>
                  {columns.map((name) => (
                    <th key={name}>{head[name]}</th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {settled(pages.items).map((one, index) => (
                  <tr key={index}>
                    {columns.map((name) => (
                      <td key={name} data-label={head[name]} class={name === "time" ? "nowrap" : name === "old" || name === "new" ? "of-any-length" : ""}>
                        {cell(one, name)}
                      </td>
                    ))}
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
      {pages.more && (
        <p>
          <button onClick={pages.more}>{text.common.more}</button>
        </p>
      )}
    </>
  );
}

function cell(one: Entry, name: keyof typeof text.audit.head) {
  switch (name) {
    case "time":
      return <span class="num">{moment(one.time)}</span>;
    case "ok":
      return one.ok === false ? (
        <span class="state bad">
          <Icon name="bad" />
          {outcome(one)}
        </span>
      ) : (
        <span class={isUnknown(one) ? "state warn" : ""}>{outcome(one)}</span>
      );
    case "old":
      return shown(one.old);
    case "new":
      return shown(requested(one));
    case "detail":
      return detail(one) && <code>{detail(one)}</code>;
    case "address":
      return (
        <span class="dim">
          {one.address} {one.via}
        </span>
      );
    default:
      return one[name] ?? "";
  }
}

/** A gateway records beside it what the device holds then. */
const requested = (one: Entry) => (one.source === "gateway" ? (one.detail?.value ?? one.new) : one.new);

/** Without the rows that say what was attempted, where another says what came of it. */
function settled(items: readonly Entry[]): Entry[] {
  const after = new Map<string, number>();
  return items.filter((one) => {
    if (one.source !== "console") return true;
    const key = JSON.stringify([one.event, one.person, one.topic, one.new]);
    const open = after.get(key) ?? 0;
    const isAttempt = one.ok === null && !isUnknown(one);
    after.set(key, isAttempt ? Math.max(open - 1, 0) : open + 1);
    return !isAttempt || !open;
  });
}

/** It was tried, and nobody knows what became of it. */
const isUnknown = (one: Entry) => one.ok === null && one.detail?.unknown === true;

function outcome(one: Entry): string {
  if (one.ok === null) return isUnknown(one) ? text.audit.unknown : text.audit.open;
  return one.ok ? text.audit.ok : text.audit.refused;
}

function shown(of: unknown): string {
  if (of === null || of === undefined) return "";
  return typeof of === "object" ? JSON.stringify(of) : value(of as string | number | boolean);
}

/** Of a reading only its value. */
function shortly(of: unknown): string {
  if (typeof of !== "object" || of === null) return String(of);
  return "value" in of ? String(of.value) : JSON.stringify(of);
}

function detail(one: Entry): string {
  const known = Object.entries(one.detail ?? {}).filter(([, each]) => each !== null);
  return known.map(([name, each]) => `${name}: ${shortly(each)}`).join(", ");
}
