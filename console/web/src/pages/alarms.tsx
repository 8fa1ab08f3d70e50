// What stands, what is put aside, what happened, and how well alarms serve people.
import { useState } from "preact/hooks";
import { useAlarms } from "../api/alarms";
import type { Asked } from "../api/http";
import { usePages } from "../api/pages";
import type { Priority } from "../api/types";
import { go, query, to } from "../router";
import { text } from "../text";
import { Empty, Missing, Notice, Status } from "../ui/messages";
import { Events } from "./alarms/events";
import { OneAlarm } from "./alarms/one";
import { Range, since, type Length } from "./alarms/range";
import { Standing } from "./alarms/standing";
import { Figures } from "./alarms/statistics";

const MOST = 1_000;
const LISTS = ["active", "shelved", "history", "statistics"] as const;
type List = (typeof LISTS)[number];
const PRIORITIES: readonly Priority[] = ["critical", "high", "medium", "low"];

export default function Alarms() {
  const list = LISTS.find((one) => one === query.value.get("list")) ?? "active";
  const [priority, setPriority] = useState("");
  const [length, setLength] = useState<Length>("day");
  const q = query.value.get("q") ?? "";
  const id = query.value.get("alarm");
  if (id) return <OneAlarm key={id} id={id} />;
  const show = (next: { list?: List; q?: string }) => go(to("/alarms", { list, q, ...next }), true);
  const asked = { q, priority };
  return (
    <>
      <div class="bar">
        <h1>{text.nav.alarms}</h1>
        <div class="group" role="group" aria-label={text.nav.alarms}>
          {LISTS.map((one) => (
            <button key={one} aria-pressed={one === list} onClick={() => show({ list: one })}>
              {text.alarms.lists[one]}
            </button>
          ))}
        </div>
        {list !== "statistics" && (
          <>
            <input
              type="search"
              aria-label={text.common.search}
              placeholder={text.common.search}
              value={q}
              onInput={(event) => show({ q: event.currentTarget.value })}
            />
            <select aria-label={text.alarms.head.priority} onChange={(event) => setPriority(event.currentTarget.value)}>
              <option value="">{text.alarms.allPriorities}</option>
              {PRIORITIES.map((one) => (
                <option key={one} value={one}>
                  {text.alarms.priorities[one]}
                </option>
              ))}
            </select>
          </>
        )}
        {(list === "history" || list === "statistics") && <Range of={length} set={setLength} />}
      </div>
      {list === "statistics" ? (
        <Figures length={length} />
      ) : list === "history" ? (
        <History asked={asked} length={length} />
      ) : (
        <Now key={list} state={list} asked={asked} />
      )}
    </>
  );
}

function Now({ state, asked }: { state: "active" | "shelved"; asked: Asked }) {
  const answer = useAlarms({ ...asked, state, limit: MOST });
  const { data } = answer;
  return (
    <>
      <Status of={answer} />
      {data && <Missing parts={data.missing} />}
      {data?.next && <Notice kind="info">{text.alarms.most(MOST)}</Notice>}
      {data && (data.items.length ? <Standing items={data.items} done={answer.again} /> : <Empty title={text.alarms.empty[state]} />)}
    </>
  );
}

function History({ asked, length }: { asked: Asked; length: Length }) {
  const [from, setFrom] = useState({ length, at: since(length) });
  if (from.length !== length) setFrom({ length, at: since(length) });
  const pages = usePages("alarms", { ...asked, from: from.at, state: "history" });
  return (
    <>
      <Status of={{ data: pages.first, problem: pages.problem, asking: pages.asking, again: pages.again }} />
      {pages.first && (pages.items.length ? <Events items={pages.items} named /> : <Empty title={text.alarms.empty.history} />)}
      {pages.more && (
        <p>
          <button onClick={pages.more}>{text.common.more}</button>
        </p>
      )}
    </>
  );
}
