// The history of what is shown, and what comes live after it.
import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { asProblem, get, isPassing, RETRY_MS, type ProblemError } from "../../api/http";
import { useLive, type Reading } from "../../api/live";
import type { Series } from "../../api/types";
import { line, type Line } from "./points";
import { iso, length, type View } from "./view";

const SOONEST_MS = 10_000; // between two requests of a live view
const TAIL = 5_000; // live readings of a tag kept until the next request
const DRAW_MS = 500;

export interface History {
  lines: Line[];
  problem: ProblemError | undefined;
  asking: boolean;
  /** The end of a live view, which moves. */
  now: number;
}

export function useHistory(view: View, points: number): History {
  const [answer, setAnswer] = useState<{ series: Series[]; asked: number; problem?: ProblemError; asking: boolean }>({
    series: [],
    asked: 0,
    asking: true,
  });
  const [now, setNow] = useState(Date.now());
  const tails = useRef(new Map<string, Reading[]>());
  const topics = view.topics.join("\n");
  const range = view.last ?? `${view.from} ${view.to}`;

  const hear = useCallback((topic: string, reading: Reading) => {
    const tail = tails.current.get(topic);
    if (!tail || reading.time <= (tail.at(-1)?.time ?? 0)) return;
    tail.push(reading);
    if (tail.length > TAIL) tail.shift();
  }, []);
  useLive(view.topics, hear);

  useEffect(() => {
    for (const topic of view.topics) if (!tails.current.has(topic)) tails.current.set(topic, []);
    if (!view.topics.length || !points) return setAnswer({ series: [], asked: Date.now(), asking: false });
    const stop = new AbortController();
    let timer = 0;
    const ask = async () => {
      const end = view.last ? Date.now() : view.to;
      const from = view.last ? end - length(view.last)! : view.from;
      let wait = view.last ? Math.max(SOONEST_MS, (end - from) / points) : 0;
      setAnswer((old) => ({ ...old, asking: true }));
      try {
        const asked = { topic: view.topics, from: iso(from), to: iso(end), points: Math.min(points, limit(view)) };
        const { series } = await get("history", asked, stop.signal);
        for (const one of series) {
          const newest = Date.parse(one.points.at(-1)?.time ?? "") || 0;
          tails.current.set(one.topic, (tails.current.get(one.topic) ?? []).filter((reading) => reading.time > newest));
        }
        setAnswer({ series, asked: Date.now(), asking: false });
      } catch (error) {
        if (stop.signal.aborted) return;
        const problem = asProblem(error);
        setAnswer((old) => ({ ...old, problem, asking: false }));
        if (isPassing(problem)) wait = Math.max(wait, RETRY_MS);
      }
      if (wait) timer = setTimeout(() => void ask(), wait);
    };
    // Whoever drags or types asks once, when done.
    timer = setTimeout(() => void ask(), 60);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [topics, range, points > 0]);

  useEffect(() => {
    if (!view.last) return;
    const timer = setInterval(() => !document.hidden && setNow(Date.now()), DRAW_MS);
    return () => clearInterval(timer);
  }, [view.last]);

  const lines = useMemo(
    () => ordered(answer.series, view.topics).map((one) => line(one, view.last ? (tails.current.get(one.topic) ?? []) : [])),
    [answer.series, topics, view.last, view.last ? now : 0],
  );
  return { lines, problem: answer.problem, asking: answer.asking, now };
}

const MOST_POINTS = 90_000; // in one answer
const limit = (view: View) => Math.floor(MOST_POINTS / Math.max(1, view.topics.length));

/** As chosen; what is not answered yet is there without points. */
function ordered(series: readonly Series[], topics: readonly string[]): Series[] {
  return topics.map(
    (topic) =>
      series.find((one) => one.topic === topic) ?? { topic, unit: null, resolution: "", points: [], gaps: [] },
  );
}
