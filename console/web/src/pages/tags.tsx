// Every tag, found while typing, with its live value.
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { useAct } from "../api/act";
import { fetchLast, useLast } from "../api/last";
import { away, reading, useLive } from "../api/live";
import type { Tag } from "../api/types";
import { go, query, to, toDevice } from "../router";
import { text } from "../text";
import { brief } from "../topic";
import { CopyButton } from "../ui/copied";
import { Grid, GridRow, type Column } from "../ui/grid";
import { Icon } from "../ui/icon";
import { Empty, Notice, Trouble } from "../ui/messages";
import { csv, save, type Cell } from "../ui/save";
import { COLUMNS, loadColumns, saveColumns, type TagColumn } from "./tags/columns";
import { all, useRows } from "./tags/rows";

const TYPING_MS = 120;
const MOST_LIVE = 200;

export default function Tags() {
  const q = query.value.get("q") ?? "";
  const device = query.value.get("device") ?? "";
  const asked = { q, device };
  const list = `${device}?${q}`;
  const rows = useRows(list, asked);
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [ids, setIds] = useState(loadColumns);
  const [seen, setSeen] = useState<[number, number]>([0, 0]);
  const columns = useMemo(() => COLUMNS.filter((column) => ids.includes(column.id)), [ids]);
  const shown = rows.tags.slice(seen[0], Math.min(seen[1] + 1, seen[0] + MOST_LIVE)).map((tag) => tag.topic);
  useLast(shown);
  useLive(shown);

  const onSeen = useCallback(
    (first: number, last: number) => {
      setSeen([first, last]);
      rows.reach(last);
    },
    [rows.reach],
  );
  const choose = useCallback((topic: string, on: boolean) => {
    setChosen((old) => {
      const next = new Set(old);
      if (on) next.add(topic);
      else next.delete(topic);
      return next;
    });
  }, []);
  const pick = (next: string[]) => {
    setIds(next);
    saveColumns(next);
  };
  const table = (tags: readonly Tag[]): Cell[][] => [
    [text.tags.head.topic, ...columns.map((column) => column.title)],
    ...tags.map((tag) => [tag.topic, ...columns.map((column) => column.raw(tag, reading(tag.topic).peek()))]),
  ];
  const download = useAct();
  const export_ = async () => {
    const tags = await all(asked);
    await fetchLast(tags.map((tag) => tag.topic));
    save("tags.csv", csv(table(tags)));
  };
  const copied = () => table(chosen.size ? rows.tags.filter((tag) => chosen.has(tag.topic)) : rows.tags);

  return (
    <>
      <div class="bar">
        <h1>{text.tags.title}</h1>
        <Search q={q} device={device} />
        <span class="dim num" role="status">
          {rows.total !== undefined && text.tags.count(rows.total)}
        </span>
        <span class="end" />
        {chosen.size > 0 && (
          <>
            <a class="button" href={to("/trend", { t: [...chosen] })}>
              <Icon name="trend" /> {text.tags.trendSelected(chosen.size)}
            </a>
            <button class="quiet" onClick={() => setChosen(new Set())}>
              <Icon name="close" label={text.tags.clear} />
            </button>
          </>
        )}
        <Columns ids={ids} pick={pick} />
        <CopyButton label={text.common.copy} rows={copied} />
        <button disabled={download.busy} onClick={() => void download.run(export_)}>
          <Icon name="download" /> {text.common.csv}
        </button>
      </div>
      {device && (
        <p class="chip">
          {text.tags.device}: <a href={toDevice(device)}>{device}</a>
          <button class="quiet" onClick={() => go(to("/tags", { q }))}>
            <Icon name="close" label={text.common.all} />
          </button>
        </p>
      )}
      {rows.problem && <Trouble problem={rows.problem} />}
      {download.problem && <Trouble problem={download.problem} />}
      {away.value !== null && <Notice kind="warn">{text.problem.live}</Notice>}
      {rows.total === 0 ? (
        q || device ? (
          <Empty title={text.tags.noMatch} detail={text.tags.noMatchDetail} />
        ) : (
          <Empty title={text.tags.empty} detail={text.tags.emptyDetail} />
        )
      ) : (
        <Grid
          label={text.tags.title}
          columns={[CHECK, TOPIC, ...columns]}
          count={rows.total ?? 0}
          list={list}
          onSeen={onSeen}
          row={(index) => {
            const tag = rows.tags[index];
            if (!tag) return <GridRow key={index} index={index} children={<div role="cell">…</div>} />;
            const on = chosen.has(tag.topic);
            return <Row key={tag.topic} index={index} tag={tag} columns={columns} chosen={on} choose={choose} />;
          }}
        />
      )}
      {rows.total === undefined && !rows.problem && <p class="loading">{text.common.loading}</p>}
    </>
  );
}

const CHECK: Column = { id: "check", title: text.tags.chosen, width: "2rem" };
const TOPIC: Column = { id: "topic", title: text.tags.head.topic, width: "minmax(13rem, 2.4fr)" };

interface RowProps {
  index: number;
  tag: Tag;
  columns: readonly TagColumn[];
  chosen: boolean;
  choose: (topic: string, on: boolean) => void;
}

function Row({ index, tag, columns, chosen, choose }: RowProps) {
  const live = reading(tag.topic).value;
  return (
    <GridRow index={index} chosen={chosen}>
      <div role="cell" class="check-cell">
        <input
          type="checkbox"
          aria-label={text.tags.select(tag.topic)}
          checked={chosen}
          onChange={(event) => choose(tag.topic, event.currentTarget.checked)}
        />
      </div>
      <div role="cell" class="tail" title={tag.topic}>
        <bdi>
          <a href={to("/trend", { t: tag.topic })}>{brief(tag.topic)}</a>
        </bdi>
      </div>
      {columns.map((column) => (
        <div key={column.id} role="cell" class={column.numeric ? "num" : ""}>
          {column.cell(tag, live)}
        </div>
      ))}
    </GridRow>
  );
}

function Search({ q, device }: { q: string; device: string }) {
  const [typed, setTyped] = useState(q);
  useEffect(() => {
    if (typed === q) return;
    const timer = setTimeout(() => go(to("/tags", { q: typed, device }), true), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => setTyped(q), [q]);
  return (
    <input
      type="search"
      value={typed}
      placeholder={text.tags.placeholder}
      aria-label={text.common.search}
      onInput={(event) => setTyped(event.currentTarget.value)}
    />
  );
}

function Columns({ ids, pick }: { ids: readonly string[]; pick: (ids: string[]) => void }) {
  return (
    <details class="pop">
      <summary class="button">
        <Icon name="columns" /> {text.common.columns}
      </summary>
      <div>
        {COLUMNS.map(({ id, title }) => (
          <label class="check" key={id}>
            <input
              type="checkbox"
              checked={ids.includes(id)}
              onChange={(event) => pick(event.currentTarget.checked ? [...ids, id] : ids.filter((one) => one !== id))}
            />
            {title}
          </label>
        ))}
      </div>
    </details>
  );
}
