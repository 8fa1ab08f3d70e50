// The audit as a table: each action of a person once.
import { useMemo } from "preact/hooks";
import type { Asked } from "../../api/http";
import { usePages } from "../../api/pages";
import { moment } from "../../format";
import { text } from "../../text";
import { CopyButton } from "../../ui/copied";
import { Icon } from "../../ui/icon";
import { Empty, Status } from "../../ui/messages";
import { csv, save } from "../../ui/save";
import { before, isUnknown, merged, topic, type Action } from "./actions";
import { detail, eventName, origin, outcome, outcomes, shown, wanted } from "./words";

interface Props {
  asked: Asked;
  without?: readonly string[];
  buttons?: boolean;
}

const SHORT = 20; // characters that need not be broken but at spaces
const ALL: readonly string[] = [];

export function AuditTable({ asked, without = ALL, buttons = false }: Props) {
  const pages = usePages("audit", asked);
  const { head } = text.audit;
  const actions = useMemo(() => merged(pages.items), [pages.items]);
  const rows = () => [
    Object.values(head),
    ...actions.map((one) => [
      one.entry.time,
      one.entry.person,
      one.entry.event,
      topic(one),
      shown(before(one)),
      wanted(one),
      outcomes(one),
      detail(one),
      `${one.entry.via} ${one.entry.address}`,
    ]),
  ];
  const columns = (Object.keys(head) as (keyof typeof head)[]).filter((name) => !without.includes(name));
  return (
    <>
      <Status of={{ data: pages.first, problem: pages.problem, asking: pages.asking, again: pages.again }} />
      {pages.first && !actions.length && <Empty title={text.audit.empty} />}
      {actions.length > 0 && (
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
                {actions.map((one, index) => (
                  <tr key={index}>
                    {columns.map((name) => (
                      <td key={name} data-label={head[name]} class={looks(one, name)}>
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

function looks(one: Action, name: keyof typeof text.audit.head): string {
  if (name === "time") return "nowrap";
  const said = name === "old" ? shown(before(one)) : name === "new" ? wanted(one) : "";
  return said.length > SHORT ? "of-any-length" : "";
}

function cell(one: Action, name: keyof typeof text.audit.head) {
  const { entry } = one;
  switch (name) {
    case "time":
      return <span class="num">{moment(entry.time)}</span>;
    case "event":
      return eventName(entry.event);
    case "topic":
      return topic(one);
    case "ok":
      return <OutcomeOf action={one} />;
    case "old":
      return shown(before(one));
    case "new":
      return wanted(one);
    case "detail":
      return detail(one) && <code class="of-lines">{detail(one)}</code>;
    case "address":
      return <span class="dim">{origin(one)}</span>;
    default:
      return entry[name] ?? "";
  }
}

/** What the console knows, and below it what the gateway has recorded. */
function OutcomeOf({ action: { entry, gateway } }: { action: Action }) {
  const level = entry.ok === false ? "state bad" : isUnknown(entry) ? "state warn" : "";
  return (
    <>
      <span class={level}>
        {entry.ok === false && <Icon name="bad" />}
        {outcome(entry)}
      </span>
      {gateway && <small class={`block ${gateway.ok === false ? "state bad" : "dim"}`}>{text.audit.ofGateway(outcome(gateway))}</small>}
    </>
  );
}
