// Who did what, when, from where; and what was refused.
import { useState } from "preact/hooks";
import type { Asked } from "../api/http";
import { usePages } from "../api/pages";
import { isOperator } from "../api/person";
import type { Page } from "../api/types";
import { moment, value } from "../format";
import { text } from "../text";
import { CopyButton } from "../ui/copied";
import { Icon } from "../ui/icon";
import { Empty, Notice, Status } from "../ui/messages";
import { csv, save } from "../ui/save";

interface Entry {
  time: string;
  source: string;
  event: string;
  person: string;
  via: string;
  address: string;
  topic: string | null;
  old: unknown;
  new: unknown;
  ok: boolean | null;
  detail: Record<string, unknown>;
}

export default function Audit() {
  const [asked, setAsked] = useState<Record<string, string>>({});
  const set = (name: string) => (event: { currentTarget: HTMLInputElement }) =>
    setAsked({ ...asked, [name]: event.currentTarget.value });
  return (
    <>
      <div class="bar">
        <h1>{text.nav.audit}</h1>
        {(["person", "event", "topic"] as const).map((name) => (
          <input
            key={name}
            type="search"
            aria-label={text.audit.head[name]}
            placeholder={text.audit.head[name]}
            value={asked[name] ?? ""}
            onChange={set(name)}
          />
        ))}
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

export function AuditTable({ asked, without = [], buttons = false }: Props) {
  const pages = usePages<Entry, Page<Entry>>("audit", asked);
  const { head } = text.audit;
  const rows = () => [
    Object.values(head),
    ...pages.items.map((one) => [
      one.time,
      one.person,
      one.event,
      one.topic,
      shown(one.old),
      shown(one.new),
      outcome(one.ok),
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
                {pages.items.map((one, index) => (
                  <tr key={index}>
                    {columns.map((name) => (
                      <td key={name} data-label={head[name]} class={name === "time" ? "nowrap" : ""}>
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
          {outcome(false)}
        </span>
      ) : (
        outcome(one.ok)
      );
    case "old":
    case "new":
      return shown(one[name]);
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

const outcome = (ok: boolean | null) => (ok === null ? text.audit.open : ok ? text.audit.ok : text.audit.refused);

function shown(of: unknown): string {
  if (of === null || of === undefined) return "";
  return typeof of === "object" ? JSON.stringify(of) : value(of as string | number | boolean);
}

function detail(one: Entry): string {
  const known = Object.entries(one.detail ?? {}).filter(([, each]) => each !== null);
  return known.map(([name, each]) => `${name}: ${typeof each === "object" ? JSON.stringify(each) : String(each)}`).join(", ");
}
