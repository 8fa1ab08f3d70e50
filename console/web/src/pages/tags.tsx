// Every tag, found while typing, with its live value.
import { useCallback, useEffect, useMemo, useState } from "preact/hooks";
import { useAct } from "../api/act";
import { useAsk } from "../api/ask";
import { fetchLast, useLast } from "../api/last";
import { reading, useLive } from "../api/live";
import type { Device, Tag } from "../api/types";
import { go, query, to, toDevice } from "../router";
import { text } from "../text";
import { brief } from "../topic";
import { CopyButton } from "../ui/copied";
import { Grid, GridRow, type Column } from "../ui/grid";
import { Icon } from "../ui/icon";
import { Empty, LiveAway, Missing, Trouble } from "../ui/messages";
import { csv, save, type Cell } from "../ui/save";
import { chosen, isOfAll, SHOWS, type Choice, type Devices, type Show } from "./tags/choice";
import { COLUMNS, loadColumns, saveColumns, type TagColumn } from "./tags/columns";
import { all, useAll, useRows } from "./tags/rows";

const TYPING_MS = 120;
const MOST_LIVE = 200;
const EVERY_MS = 10_000;

export default function Tags() {
  const q = query.value.get("q") ?? "";
  const device = query.value.get("device") ?? "";
  const choice: Choice = { show: (query.value.get("show") ?? "") as Show, sort: query.value.get("sort") ?? "" };
  const asked = { q, device };
  const list = `${device}?${q}`;
  const plant = useAsk("devices", {}, EVERY_MS).data;
  const devices: Devices = useMemo(() => new Map(plant?.items.map((one) => [one.path, one])), [plant]);
  const paged = useRows(isOfAll(choice) ? null : list, asked);
  // Whoever looks for problems among many thousand gets from the console only those.
  const whole = useAll(isOfAll(choice) ? `${list} ${choice.show}` : null, { ...asked, show: choice.show || "all" });
  const tags = useMemo(() => chosen(whole.tags, choice, devices), [whole.tags, choice.show, choice.sort, plant]);
  const total = whole.isThere ? tags.length : undefined;
  const rows = isOfAll(choice) ? { ...whole, tags, total } : paged;
  const show = (next: Partial<Choice>) => go(to("/tags", { q, device, ...choice, ...next }), true);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const [ids, setIds] = useState(loadColumns);
  const [seen, setSeen] = useState<[number, number]>([0, 0]);
  const columns = useMemo(() => COLUMNS.filter(({ id }) => ids.includes(id) || (id === "cause" && choice.show === "problems")), [ids, choice.show]);
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
    setPicked((old) => {
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
    [text.tags.head.topic, ...columns.map((column) => column.rawTitle ?? column.title)],
    ...tags.map((tag) => [tag.topic, ...columns.map((column) => column.raw(tag, reading(tag.topic).peek(), devices.get(tag.device)))]),
  ];
  const download = useAct();
  const saveAll = async () => {
    const found = await all({ ...asked, show: choice.show || "all" });
    await fetchLast(found.map((tag) => tag.topic));
    save("tags.csv", csv(table(chosen(found, choice, devices))));
  };
  const copied = () => table(picked.size ? rows.tags.filter((tag) => picked.has(tag.topic)) : rows.tags);

  return (
    <>
      <div class="bar">
        <h1>{text.tags.title}</h1>
        <Search q={q} search={(typed) => go(to("/tags", { q: typed, device, ...choice }), true)} />
        <select
          aria-label={text.tags.show}
          value={choice.show}
          onChange={(event) => show({ show: event.currentTarget.value as Show })}
        >
          {SHOWS.map((one) => (
            <option key={one} value={one}>
              {text.tags.shows[one]}
            </option>
          ))}
        </select>
        <span class="dim num" role="status">
          {rows.total !== undefined && text.tags.count(rows.total)}
        </span>
        <span class="end" />
        {picked.size > 0 && (
          <>
            <a class="button" href={to("/trend", { t: [...picked] })}>
              <Icon name="trend" /> {text.tags.trendSelected(picked.size)}
            </a>
            <button class="quiet" onClick={() => setPicked(new Set())}>
              <Icon name="close" label={text.tags.clear} />
            </button>
          </>
        )}
        <Columns ids={ids} pick={pick} />
        <CopyButton label={text.common.copy} rows={copied} />
        <button disabled={download.busy} onClick={() => void download.run(saveAll)}>
          <Icon name="download" /> {text.common.csv}
        </button>
      </div>
      {device && (
        <p class="chip">
          {text.tags.device}: <a href={toDevice(device)}>{device}</a>
          <button class="quiet" onClick={() => go(to("/tags", { q, ...choice }))}>
            <Icon name="close" label={text.common.all} />
          </button>
        </p>
      )}
      <Missing parts={plant?.missing ?? []} />
      {rows.problem && <Trouble problem={rows.problem} />}
      {download.problem && <Trouble problem={download.problem} />}
      <LiveAway />
      {rows.total === 0 ? (
        choice.show ? (
          <Empty title={choice.show === "problems" ? text.tags.noProblem : text.tags.noWritable} />
        ) : q || device ? (
          <Empty title={text.tags.noMatch} detail={text.tags.noMatchDetail} />
        ) : (
          <Empty title={text.tags.empty} detail={text.tags.emptyDetail} />
        )
      ) : (
        <Grid
          label={text.tags.title}
          columns={[CHECK, TOPIC, ...columns]}
          count={rows.total ?? 0}
          list={`${list} ${choice.show} ${choice.sort}`}
          sort={choice.sort}
          onSort={(sort) => show({ sort })}
          onSeen={onSeen}
          renderRow={(index) => {
            const tag = rows.tags[index];
            if (!tag) return <Coming key={index} index={index} />;
            const on = picked.has(tag.topic);
            return <Row key={tag.topic} index={index} tag={tag} device={devices.get(tag.device)} columns={columns} chosen={on} choose={choose} />;
          }}
        />
      )}
      {rows.total === undefined && !rows.problem && <p class="loading">{text.common.loading}</p>}
    </>
  );
}

const CHECK: Column = { id: "check", title: text.tags.chosen, width: "2rem", fixed: true };
const TOPIC: Column = { id: "topic", title: text.tags.head.topic, width: "minmax(13rem, 2.4fr)" };

function Coming({ index }: { index: number }) {
  return (
    <GridRow index={index}>
      <div role="cell">…</div>
    </GridRow>
  );
}

interface RowProps {
  index: number;
  tag: Tag;
  device: Device | undefined;
  columns: readonly TagColumn[];
  chosen: boolean;
  choose: (topic: string, on: boolean) => void;
}

function Row({ index, tag, device, columns, chosen, choose }: RowProps) {
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
          {column.cell(tag, live, device)}
        </div>
      ))}
    </GridRow>
  );
}

function Search({ q, search }: { q: string; search: (typed: string) => void }) {
  const [typed, setTyped] = useState(q);
  useEffect(() => {
    if (typed === q) return;
    const timer = setTimeout(() => search(typed), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  useEffect(() => setTyped(q), [q]);
  return (
    <input
      type="search"
      value={typed}
      placeholder={text.tags.placeholder}
      title={text.tags.placeholderDetail}
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
