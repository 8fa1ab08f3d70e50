// How uPlot draws the lines.
import uPlot from "uplot";
import { value } from "../../format";
import { text } from "../../text";
import { colour, pen } from "./paint";
import { scaleOf, type Line } from "./points";

const stepped = uPlot.paths.stepped!({ align: 1 });
const MOST_AXES = 4;
const TIME_PX = 72; // between two times: a date is as wide
const FONT = "12px system-ui, sans-serif";

const isBucketed = (line: Line) => line.resolution !== "" && line.resolution !== "raw";

/** Names what makes another chart necessary: anything but data. */
export const shape = (lines: readonly Line[]) =>
  lines.map((line) => `${line.topic} ${scaleOf(line)} ${line.text} ${isBucketed(line)}`).join("\n");

export function seriesOf(lines: readonly Line[], hidden: readonly string[]): uPlot.Series[] {
  const out: uPlot.Series[] = [{}];
  lines.forEach((line, index) => {
    const stroke = colour(pen(index));
    const common = { scale: scaleOf(line), show: !hidden.includes(line.topic), spanGaps: false };
    const paths = line.steps ? { paths: stepped } : {};
    const edge = { ...common, ...paths, stroke: "transparent", width: 0, points: { show: false } };
    const sparse = line.points.length < 80;
    out.push({ ...common, ...paths, stroke, width: 1.5, points: { show: sparse, size: 4, fill: stroke } }, edge, edge);
  });
  return out;
}

/** The envelope of each line's minima and maxima. */
export function bandsOf(lines: readonly Line[]): uPlot.Band[] {
  return lines.flatMap((line, index) => {
    if (!isBucketed(line) || line.steps) return [];
    return [{ series: [3 * index + 3, 3 * index + 2] as uPlot.Band.Bounds, fill: fade(colour(pen(index))) }];
  });
}

function fade(rgb: string): string {
  return rgb.replace("rgb(", "rgba(").replace(")", ", 0.28)");
}

export function scalesOf(lines: readonly Line[], x: () => [number, number]): uPlot.Scales {
  const scales: uPlot.Scales = { x: { time: true, range: x } };
  for (const line of lines) {
    scales[scaleOf(line)] = line.steps ? { range: [-0.08, 1.25] } : { range: (_, min, max) => padded(min, max) };
  }
  return scales;
}

function padded(min: number | null, max: number | null): [number, number] {
  if (min === null || max === null || !Number.isFinite(min) || !Number.isFinite(max)) return [0, 1];
  if (min === max) return [min - Math.max(Math.abs(min) * 0.05, 0.5), max + Math.max(Math.abs(max) * 0.05, 0.5)];
  return uPlot.rangeNum(min, max, 0.08, true) as [number, number];
}

/** Where there is little room, the first two units have an axis, one on each side. */
export function axesOf(lines: readonly Line[], narrow: boolean): uPlot.Axis[] {
  const look = { stroke: colour("soft"), font: FONT, ticks: { stroke: colour("line"), width: 1 } };
  const grid = { stroke: colour("line"), width: 1 };
  const scales = [...new Set(lines.filter((line) => !line.text).map(scaleOf))].slice(0, narrow ? 2 : MOST_AXES);
  return [
    { ...look, grid, space: TIME_PX, values: times },
    ...scales.map((scale, index): uPlot.Axis => ({
      ...look,
      scale,
      side: index % 2 ? 1 : 3,
      size: (_, values) => Math.max(narrow ? 34 : 44, 18 + 7 * Math.max(...(values ?? [""]).map((one) => one.length))),
      grid: index ? { show: false } : grid,
      label: scale === "steps" ? "" : scale.slice(2),
      labelSize: scale === "steps" || scale === "u:" ? 0 : 18,
      labelFont: FONT,
      labelGap: 0,
      ...(scale === "steps"
        ? { splits: [0, 1], values: () => [text.value.false, text.value.true] }
        : { values: (_: uPlot, splits: number[]) => splits.map((split) => value(Number(split.toPrecision(10)))) }),
    })),
  ];
}

const pad = (n: number) => String(n).padStart(2, "0");

/** Times of the axis: the date where a day begins, and at the first. */
function times(_: uPlot, splits: number[], __: number, ___: number, step: number): string[] {
  let day = "";
  return splits.map((split) => {
    const at = new Date(split * 1000);
    const date = `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}`;
    const clock = `${pad(at.getHours())}:${pad(at.getMinutes())}${step < 60 ? `:${pad(at.getSeconds())}` : ""}`;
    const first = date !== day;
    day = date;
    if (step >= 86_400) return date;
    return first ? `${clock}\n${date}` : clock;
  });
}
