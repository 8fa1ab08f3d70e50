// The chart: lines, envelopes, qualities, annotations.
import "uplot/dist/uPlot.min.css";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Annotation } from "../../api/types";
import { theme } from "../../settings";
import { text } from "../../text";
import { gestures } from "./gestures";
import { axesOf, bandsOf, scalesOf, seriesOf, shape } from "./options";
import { paintLimits, type Limit } from "./limits";
import { paintAbove, paintBelow } from "./paint";
import { align, type Line } from "./points";

const SHORT_PX = 4; // a shorter drag is a click
const NARROW_PX = 640; // of a chart

interface Props {
  lines: readonly Line[];
  hidden: readonly string[];
  annotations: readonly Annotation[];
  limits: readonly Limit[];
  /** Of tags whose values are limits. */
  limitLines: readonly Line[];
  from: number;
  to: number;
  onRange: (from: number, to: number) => void;
  onZoomOut: () => void;
  onCursor: (time: number | null) => void;
  onWidth: (pixels: number) => void;
  chart: { current: uPlot | null };
}

export function Chart(props: Props) {
  const box = useRef<HTMLDivElement>(null);
  const now = useRef(props);
  now.current = props;
  const moved = useRef<[number, number] | null>(null);
  const { lines, hidden, annotations, limits, limitLines, from, to, chart } = props;
  const look = `${shape(lines)}\n${hidden.join()}\n${theme.value}`;

  useLayoutEffect(() => {
    const at = box.current!;
    const { width, height } = at.getBoundingClientRect();
    const x = (): [number, number] => {
      const [start, end] = moved.current ?? [now.current.from, now.current.to];
      return [start / 1000, end / 1000];
    };
    const u = new uPlot(
      {
        width,
        height,
        legend: { show: false },
        series: seriesOf(now.current.lines, now.current.hidden),
        bands: bandsOf(now.current.lines),
        scales: scalesOf(now.current.lines, x),
        axes: axesOf(now.current.lines, width < NARROW_PX),
        cursor: { drag: { x: true, y: false, setScale: false }, points: { show: false }, bind: binds() },
        hooks: {
          // Before the lines: no label hides a value, and none the strips of quality.
          drawAxes: [(self) => paintLimits(self, now.current), (self) => paintBelow(self, now.current)],
          draw: [(self) => paintAbove(self, now.current)],
          setCursor: [(self) => now.current.onCursor(cursorTime(self))],
          setSelect: [(self) => select(self, now.current.onRange)],
        },
      },
      align(now.current.lines),
      at,
    );
    chart.current = u;
    const draw = (range: [number, number] | null) => {
      moved.current = range;
      u.redraw(false, true);
      u.setData(u.data);
    };
    const end = gestures(u, {
      preview: (start, stop) => draw([start, stop]),
      settle: (start, stop) => now.current.onRange(start, stop),
    });
    const watch = new ResizeObserver(() => {
      const size = at.getBoundingClientRect();
      u.setSize({ width: size.width, height: size.height });
      now.current.onWidth(Math.round(size.width));
    });
    watch.observe(at);
    return () => {
      end();
      watch.disconnect();
      u.destroy();
      chart.current = null;
    };

    function binds(): uPlot.Cursor.Bind {
      return {
        // Shift-drag moves: it chooses nothing.
        mousedown: (_, __, handler) => (event) => (event.shiftKey ? null : handler(event)),
        dblclick: () => () => {
          now.current.onZoomOut();
          return null;
        },
      };
    }
  }, [look]);

  useEffect(() => {
    // What is being chosen stays in place meanwhile.
    if (!chart.current || chart.current.select.width > 0) return;
    moved.current = null;
    chart.current.setData(align(lines));
  }, [lines, from, to]);
  useEffect(() => chart.current?.redraw(false), [annotations, limits, limitLines]);
  // The system may change its colours while we are shown.
  useEffect(() => {
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const again = () => chart.current?.redraw();
    dark.addEventListener("change", again);
    return () => dark.removeEventListener("change", again);
  }, []);

  return <div ref={box} class="chart" role="img" aria-label={text.trend.chart(lines.length)} />;
}

function cursorTime(u: uPlot): number | null {
  const left = u.cursor.left ?? -1;
  return left < 0 ? null : u.posToVal(left, "x") * 1000;
}

function select(u: uPlot, onRange: Props["onRange"]): void {
  const { left, width } = u.select;
  if (width > SHORT_PX) onRange(u.posToVal(left, "x") * 1000, u.posToVal(left + width, "x") * 1000);
  u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}
