// From what the API answers to what is drawn.
import uPlot from "uplot";
import type { Reading } from "../../api/live";
import type { Quality, Series, Value } from "../../api/types";

/** A point in milliseconds; of a bucket `value` is its mean. */
export interface Drawn {
  time: number;
  value: number | null;
  min: number | null;
  max: number | null;
  shown: Value;
  quality: Quality;
}
export interface Line {
  topic: string;
  unit: string | null;
  resolution: string;
  points: Drawn[];
  gaps: [number, number][];
  /** Values are only 0 and 1, without a unit: on and off, drawn as steps. */
  steps: boolean;
  /** Values are texts: nothing to draw. */
  text: boolean;
}

/** One scale a unit; on and off have their own. */
export const scaleOf = (line: Line) => (line.steps ? "steps" : `u:${line.unit ?? ""}`);

function number(value: Value | undefined): number | null {
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number") return value;
  // An integer beyond 2^53: near enough for a pixel.
  return typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : null;
}

const isBit = (value: number | null) => value === 0 || value === 1;

export function fromReading({ time, value, quality }: Reading): Drawn {
  const drawn = number(value);
  return { time, value: drawn, min: drawn, max: drawn, shown: value, quality };
}

/** `tail` is what came live since the answer. */
export function line(series: Series, tail: readonly Reading[]): Line {
  const points = series.points.map((point): Drawn => {
    const { quality } = point;
    const time = Date.parse(point.time);
    if (!("count" in point)) return fromReading({ ...point, time, unit: series.unit });
    return { time, value: point.avg, min: point.min, max: point.max, shown: point.avg ?? point.last, quality };
  });
  const newest = points.at(-1)?.time ?? 0;
  for (const reading of tail) if (reading.time > newest) points.push(fromReading(reading));
  const values = points.filter((point) => point.value !== null);
  return {
    topic: series.topic,
    unit: series.unit,
    resolution: series.resolution,
    points,
    gaps: series.gaps.map((gap) => [Date.parse(gap.from), Date.parse(gap.to)]),
    steps: !series.unit && values.length > 0 && values.every(({ min, max }) => isBit(min) && isBit(max)),
    text: !values.length && points.some((point) => typeof point.shown === "string"),
  };
}

/** The last point at or before a time, unless it lies beyond a gap; of what is to come nobody knows a value. */
export function before(line: Line, time: number, now: number): Drawn | undefined {
  if (time > now || line.gaps.some(([from, to]) => time > from && time < to)) return undefined;
  let low = 0;
  let high = line.points.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (line.points[middle]!.time <= time) low = middle + 1;
    else high = middle;
  }
  return line.points[low - 1];
}

/** Columns for uPlot, x in seconds: of each line its mean, its minimum and its maximum. */
export function align(lines: readonly Line[]): uPlot.AlignedData {
  const tables = lines.map((one): uPlot.AlignedData => {
    const x: number[] = [];
    const columns: (number | null)[][] = [[], [], []];
    const add = (time: number, values: readonly (number | null)[]) => {
      x.push(time / 1000);
      columns.forEach((column, index) => column.push(values[index] ?? null));
    };
    let gap = 0;
    for (const point of one.points) {
      while (gap < one.gaps.length && one.gaps[gap]![1] <= point.time) {
        const from = one.gaps[gap++]![0];
        // Without a value at its start a gap would be drawn over.
        if (x.length && from + 1 < point.time) add(Math.max(from + 1, x.at(-1)! * 1000 + 0.5), [null, null, null]);
      }
      add(point.time, [point.value, point.min, point.max]);
    }
    return [x, ...columns] as uPlot.AlignedData;
  });
  if (!tables.length) return [[]];
  // A null is a gap through all the times that only other lines have.
  const EXPAND = 2;
  return uPlot.join(tables, tables.map((table) => table.map(() => EXPAND)) as uPlot.JoinNullMode[][]);
}

/** Runs of points that are not good, as [from, to, quality]. */
export function badRuns(line: Line): [number, number, Quality][] {
  const runs: [number, number, Quality][] = [];
  line.points.forEach((point, index) => {
    if (point.quality === "good") return;
    const end = line.points[index + 1]?.time ?? point.time;
    const last = runs.at(-1);
    if (last && last[1] === point.time && last[2] === point.quality) last[1] = end;
    else runs.push([point.time, end, point.quality]);
  });
  return runs;
}
