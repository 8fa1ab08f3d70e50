// What stands, what is put aside, and what happened; and what a person does about it.
import { useState } from "preact/hooks";
import { useAlarms } from "../api/alarms";
import type { Asked } from "../api/http";
import { usePages } from "../api/pages";
import type { Priority } from "../api/types";
import { query } from "../router";
import { text } from "../text";
import { Empty, Missing, Notice, Status } from "../ui/messages";
import { Events, Standing } from "./alarms/lists";
import { OneAlarm } from "./alarms/one";

const MOST = 1_000;
const LISTS = ["active", "shelved", "history"] as const;
const PRIORITIES: readonly Priority[] = ["critical", "high", "medium", "low"];
const RANGES = { hour: 1, day: 24, week: 168, month: 720 } as const; // hours
type Range = keyof typeof RANGES;

export default function Alarms() {
  const [state, setState] = useState<(typeof LISTS)[number]>("active");
  const [q, setQ] = useState("");
  const [priority, setPriority] = useState("");
  const [from, setFrom] = useState<string>();
  const id = query.value.get("alarm");
  if (id) return <OneAlarm key={id} id={id} />;
  const asked = { q, priority };
  return (
    <>
      <div class="bar">
        <h1>{text.nav.alarms}</h1>
        <div class="group" role="group" aria-label={text.nav.alarms}>
          {LISTS.map((one) => (
            <button key={one} aria-pressed={one === state} onClick={() => setState(one)}>
              {text.alarms.lists[one]}
            </button>
          ))}
        </div>
        <input
          type="search"
          aria-label={text.common.search}
          placeholder={text.common.search}
          onInput={(event) => setQ(event.currentTarget.value.trim())}
        />
        <select aria-label={text.alarms.head.priority} onChange={(event) => setPriority(event.currentTarget.value)}>
          <option value="">{text.alarms.allPriorities}</option>
          {PRIORITIES.map((one) => (
            <option key={one} value={one}>
              {text.alarms.priorities[one]}
            </option>
          ))}
        </select>
        {state === "history" && (
          <select aria-label={text.alarms.head.at} onChange={(event) => setFrom(since(event.currentTarget.value as Range))}>
            {(Object.keys(RANGES) as Range[]).map((one) => (
              <option key={one} value={one} selected={one === "day"}>
                {text.alarms.range[one]}
              </option>
            ))}
          </select>
        )}
      </div>
      {state === "history" ? <History asked={{ ...asked, from }} /> : <Now state={state} asked={asked} />}
    </>
  );
}

const since = (range: Range) => new Date(Date.now() - RANGES[range] * 3_600_000).toISOString();

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

function History({ asked }: { asked: Asked }) {
  const pages = usePages("alarms", { ...asked, state: "history" });
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
