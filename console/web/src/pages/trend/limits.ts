// Limits of alarms in the chart, with the alarms' names.
import type uPlot from "uplot";
import type { Alarm, Tag } from "../../api/types";
import { fitting, spread } from "./labels";
import { colour, pen } from "./paint";
import { before, scaleOf, type Line } from "./points";

/** Of an alarm of the tag `topic`: a number, or the topic of the tag whose value it is. */
export interface Limit {
  topic: string;
  name: string;
  limit: number | string;
  /** The alarm's condition holds: it is drawn stronger. */
  stands: boolean;
}

const LABEL_PX = 11;
const APART_PX = 14; // between two labels
const MARGIN_PX = 4;

const stands = ({ state }: Alarm) => state === "unacknowledged" || state === "acknowledged";
const topicOf = ({ device, tag }: Alarm) => `dev/${device}/${tag}`;

/** The limits of these tags' alarms, as the device file has them, and those of other alarms that were raised, as of rules. */
export function limitsOf(alarms: readonly Alarm[], tags: readonly Tag[], topics: readonly string[]): Limit[] {
  const raised = alarms.filter((one) => topics.includes(topicOf(one)));
  const holds = (topic: string, name: string, limit?: number) =>
    raised.some((one) => topicOf(one) === topic && one.name === name && stands(one) && (limit === undefined || one.limit === limit));
  const described = tags.flatMap(({ topic, device, alarms, limit_tags }): Limit[] => [
    ...(alarms ?? []).map(({ name, limit }) => ({ topic, name, limit, stands: holds(topic, name, limit) })),
    ...(limit_tags ?? []).map(({ name, tag }) => ({ topic, name, limit: `dev/${device}/${tag}`, stands: holds(topic, name) })),
  ]);
  const isDescribed = (topic: string, name: string) => described.some((one) => one.topic === topic && one.name === name);
  const others = raised.flatMap((one) => {
    const topic = topicOf(one);
    return one.limit === null || isDescribed(topic, one.name) ? [] : [{ topic, name: one.name, limit: one.limit, stands: stands(one) }];
  });
  return [...described, ...others];
}

/** The topics whose values are limits. */
export const limitTopics = (limits: readonly Limit[]) => [
  ...new Set(limits.flatMap(({ limit }) => (typeof limit === "string" ? [limit] : []))),
];

interface Shown {
  lines: readonly Line[];
  limits: readonly Limit[];
  /** Of the tags whose values are limits. */
  limitLines: readonly Line[];
  hidden: readonly string[];
}

interface Label {
  text: string;
  y: number;
  colour: string;
}

/** Each limit within the picture dashed in the colour of its tag; with several tags a label names the tag too. */
export function paintLimits(u: uPlot, { lines, limits, limitLines, hidden }: Shown): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const drawn = lines.filter((line) => !line.text && !hidden.includes(line.topic));
  const labels: Label[] = [];
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  for (const { topic, name, limit, stands: strong } of limits) {
    const line = drawn.find((one) => one.topic === topic);
    // uPlot draws a moment later: a chart that is replaced meanwhile, because a unit has come, has no scale for it.
    if (!line || !(scaleOf(line) in u.scales)) continue;
    ctx.strokeStyle = colour(pen(lines.indexOf(line)));
    ctx.lineWidth = (strong ? 2 : 1) * devicePixelRatio;
    const y = typeof limit === "number" ? level(u, line, limit) : steps(u, line, limitLines.find((one) => one.topic === limit));
    if (y === null || !(y >= top && y <= top + height)) continue;
    const tag = drawn.length > 1 ? `${nameAmong(topic, drawn)}: ` : "";
    labels.push({ text: tag + name, y, colour: ctx.strokeStyle });
  }
  paintLabels(u, labels);
  ctx.restore();
}

/** Gives its height. */
function level(u: uPlot, line: Line, limit: number): number {
  const { left, width } = u.bbox;
  const y = u.valToPos(limit, scaleOf(line), true);
  u.ctx.beginPath();
  u.ctx.moveTo(left, y);
  u.ctx.lineTo(left + width, y);
  u.ctx.stroke();
  return y;
}

/** What the limit was over time; gives its height at the end, if it has one there. */
function steps(u: uPlot, line: Line, limit: Line | undefined): number | null {
  if (!limit) return null;
  const { ctx } = u;
  const scale = scaleOf(line);
  let y: number | null = null;
  ctx.beginPath();
  for (const point of limit.points) {
    const x = u.valToPos(point.time / 1000, "x", true);
    if (y !== null) ctx.lineTo(x, y);
    const next = point.value === null || point.quality === "bad" ? null : u.valToPos(point.value, scale, true);
    if (next !== null && y === null) ctx.moveTo(x, next);
    else if (next !== null) ctx.lineTo(x, next);
    y = next;
  }
  const end = u.scales.x!.max! * 1000;
  const last = before(limit, Math.min(end, Date.now()), Date.now());
  if (y !== null && last) ctx.lineTo(u.valToPos(Math.min(end, Date.now()) / 1000, "x", true), y);
  ctx.stroke();
  return last?.value === null || !last ? null : u.valToPos(last.value, scale, true);
}

/** The tag by the last part of its topic, or by all of it where another has the same. */
function nameAmong(topic: string, lines: readonly Line[]): string {
  const last = (of: string) => of.slice(of.lastIndexOf("/") + 1);
  const isAlone = lines.every((one) => one.topic === topic || last(one.topic) !== last(topic));
  return isAlone ? last(topic) : topic.replace("dev/", "");
}

function paintLabels(u: uPlot, labels: readonly Label[]): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const px = devicePixelRatio;
  const start = left + MARGIN_PX * px; // at the oldest values: the newest are what is looked at
  const heights = spread(labels.map(({ y }) => y - MARGIN_PX * px), APART_PX * px, top + LABEL_PX * px, top + height - MARGIN_PX * px);
  ctx.font = `${LABEL_PX * px}px system-ui, sans-serif`;
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  labels.forEach((label, index) => {
    const y = heights[index]!;
    const text = fitting(label.text, width - 2 * MARGIN_PX * px, (some) => ctx.measureText(some).width);
    const wide = ctx.measureText(text).width;
    ctx.globalAlpha = 0.8;
    ctx.fillStyle = colour("panel");
    ctx.fillRect(start - 2 * px, y - LABEL_PX * px, wide + 4 * px, (LABEL_PX + 2) * px);
    ctx.globalAlpha = 1;
    ctx.fillStyle = label.colour;
    ctx.fillText(text, start, y);
  });
}
