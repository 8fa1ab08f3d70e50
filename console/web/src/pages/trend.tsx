// Tags over time.
import "../style/trend.css";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type uPlot from "uplot";
import { useAlarms } from "../api/alarms";
import { useAsk } from "../api/ask";
import { address } from "../api/http";
import type { Annotation } from "../api/types";
import { local, period, timeZone } from "../format";
import { go, query } from "../router";
import { text } from "../text";
import { CopyButton } from "../ui/copied";
import { entered } from "../ui/entered";
import { Icon } from "../ui/icon";
import { Empty, LiveAway, Trouble } from "../ui/messages";
import { Picker } from "../ui/picker";
import { Annotations } from "./trend/annotations";
import { Chart } from "./trend/chart";
import { useHistory } from "./trend/history";
import { limitsOf, limitTopics } from "./trend/limits";
import { savePicture } from "./trend/picture";
import { Values } from "./trend/values";
import { at, iso, length, link, MOST_TOPICS, pan, parse, RANGES, zoom, type View } from "./trend/view";

const MOST_POINTS = 2_000;
const PAN = 0.25;
const ZOOM = 2;
const STANDING = { state: "active", limit: 1_000 };

export default function Trend() {
  const asked = query.value.toString();
  const parsed = useMemo(() => parse(query.value, Date.now()), [asked]);
  const [width, setWidth] = useState(0);
  const [cursor, setCursor] = useState<number | null>(null);
  const chart = useRef<uPlot | null>(null);
  const history = useHistory(parsed, Math.min(width, MOST_POINTS));
  const view = parsed.last ? { ...parsed, from: history.now - length(parsed.last)!, to: history.now } : parsed;
  const notes = useAsk(
    parsed.topics.length ? "annotations" : null,
    { topic: parsed.topics, from: iso(parsed.from), to: parsed.last ? undefined : iso(parsed.to) },
    parsed.last ? 30_000 : 0,
  );
  const items = notes.data?.items ?? NONE;
  const alarms = useAlarms(STANDING).data?.items;
  const tags = useAsk(parsed.topics.length ? "tags" : null, { topic: parsed.topics }).data?.items;
  const limits = useMemo(() => limitsOf(alarms ?? [], tags ?? [], parsed.topics), [alarms, tags, asked]);
  const moving = useMemo(() => ({ ...parsed, topics: limitTopics(limits).slice(0, MOST_TOPICS) }), [limits, parsed]);
  const limitLines = useHistory(moving, Math.min(width, MOST_POINTS)).lines;
  const show = (next: View) => go(link(next), true);
  const open = (next: View) => go(link(next));
  useKeys(view, open);

  return (
    <>
      <div class="bar">
        <h1>{text.trend.title}</h1>
        {parsed.topics.length < MOST_TOPICS && (
          <Picker
            label={text.trend.add}
            chosen={parsed.topics}
            pick={(topic) => open({ ...parsed, topics: [...parsed.topics, topic] })}
          />
        )}
      </div>
      <Toolbar view={view} show={show} open={open} picture={() => chart.current && savePicture(chart.current, history.lines, view)} />
      {history.problem && <Trouble problem={history.problem} />}
      {parsed.last && <LiveAway />}
      {!parsed.topics.length ? (
        <Empty title={text.trend.empty} detail={text.trend.emptyDetail} action={<a href="/tags">{text.tags.title}</a>} />
      ) : (
        <>
          <div class={`chart-box ${history.asking ? "asking" : ""}`}>
            <Chart
              chart={chart}
              lines={history.lines}
              hidden={parsed.hidden}
              annotations={items}
              limits={limits}
              limitLines={limitLines}
              from={view.from}
              to={view.to}
              onRange={(from, to) => open(at(view, from, to))}
              onZoomOut={() => open(zoom(view, ZOOM))}
              onCursor={setCursor}
              onWidth={setWidth}
            />
            {!history.asking && history.lines.every((line) => !line.points.length) && (
              <div class="chart-empty">
                <Empty title={text.trend.noData} detail={text.trend.noDataDetail} />
              </div>
            )}
          </div>
          <p class="hint dim">{text.trend.hint}</p>
          <Values
            lines={history.lines}
            hidden={parsed.hidden}
            cursor={cursor}
            toggle={(topic) => show({ ...parsed, hidden: without(parsed.hidden, topic) ?? [...parsed.hidden, topic] })}
            remove={(topic) => open({ ...parsed, topics: parsed.topics.filter((one) => one !== topic) })}
          />
          {notes.problem && <Trouble problem={notes.problem} />}
          <Annotations view={view} items={items} written={notes.again} />
        </>
      )}
    </>
  );
}

const NONE: Annotation[] = [];

/** Without one of them; null if it is not there. */
function without(of: readonly string[], one: string): string[] | null {
  return of.includes(one) ? of.filter((each) => each !== one) : null;
}

interface ToolbarProps {
  view: View;
  show: (view: View) => void;
  open: (view: View) => void;
  picture: () => void;
}

function Toolbar({ view, show, open, picture }: ToolbarProps) {
  const csv = address("export.csv", { topic: view.topics, from: iso(view.from), to: iso(view.to) });
  return (
    <div class="bar" role="toolbar" aria-label={text.trend.title}>
      <span class="group">
        {RANGES.map((range) => (
          <button key={range} aria-pressed={view.last === range} onClick={() => show({ ...view, last: range })}>
            {text.trend.range[range]}
          </button>
        ))}
      </span>
      <span class="group">
        <Step icon="left" label={text.trend.earlier} press={() => open(pan(view, -PAN))} />
        <Step icon="minus" label={text.trend.zoomOut} press={() => open(zoom(view, ZOOM))} />
        <Step icon="plus" label={text.trend.zoomIn} press={() => open(zoom(view, 1 / ZOOM))} />
        <Step icon="right" label={text.trend.later} press={() => open(pan(view, PAN))} />
      </span>
      <button aria-pressed={view.last !== null} onClick={() => open({ ...view, last: nearest(view) })}>
        <Icon name="play" /> {text.trend.live}
      </button>
      <Period view={view} open={open} />
      <span class="end" />
      <CopyButton label={text.trend.link} rows={() => [[location.origin + link({ ...view, last: null })]]} />
      {view.topics.length > 0 && (
        <>
          <a class="button" href={csv} download="trend.csv">
            <Icon name="download" /> {text.common.csv}
          </a>
          <button onClick={picture}>
            <Icon name="download" /> {text.trend.png}
          </button>
        </>
      )}
    </div>
  );
}

/** From when until when, and a form for another period. */
function Period({ view, open }: { view: View; open: (view: View) => void }) {
  const box = useRef<HTMLDetailsElement>(null);
  // What is typed stays while a live view moves.
  const [asked, setAsked] = useState<[number, number]>([view.from, view.to]);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget as HTMLFormElement);
    const [from, to] = ["from", "to"].map((name) => Date.parse(entered(given, name)));
    if (!(from! < to!)) return;
    box.current!.open = false;
    open(at(view, from!, to!));
  };
  return (
    <details class="pop period" ref={box} onToggle={() => box.current!.open && setAsked([view.from, view.to])}>
      <summary class="button num" title={text.trend.period}>
        {period(view.from, view.to)}
      </summary>
      <form onSubmit={submit}>
        {(["from", "to"] as const).map((name, index) => (
          <label class="field" key={name}>
            <span>{text.audit[name]}</span>
            <input name={name} type="datetime-local" step="1" required defaultValue={local(asked[index]!)} key={asked[index]} />
          </label>
        ))}
        <p class="dim">{timeZone}</p>
        <button class="primary">{text.trend.showPeriod}</button>
      </form>
    </details>
  );
}

function Step({ icon, label, press }: { icon: "left" | "right" | "plus" | "minus"; label: string; press: () => void }) {
  return (
    <button onClick={press} title={label}>
      <Icon name={icon} label={label} />
    </button>
  );
}

/** The usual range nearest to the one shown. */
function nearest(view: View): string {
  const shown = Math.log(view.to - view.from);
  const far = (range: string) => Math.abs(Math.log(length(range)!) - shown);
  return RANGES.toSorted((a, b) => far(a) - far(b))[0]!;
}

function useKeys(view: View, open: (view: View) => void): void {
  const now = useRef({ view, open });
  now.current = { view, open };
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if ((event.target as Element).closest("input, select, textarea, [role=table]")) return;
      const { view, open } = now.current;
      const next: Record<string, () => View> = {
        ArrowLeft: () => pan(view, -PAN),
        ArrowRight: () => pan(view, PAN),
        "+": () => zoom(view, 1 / ZOOM),
        "-": () => zoom(view, ZOOM),
        l: () => ({ ...view, last: nearest(view) }),
      };
      const found = next[event.key];
      if (!found) return;
      event.preventDefault();
      open(found());
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}
