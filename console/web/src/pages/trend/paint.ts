// What is painted onto the chart besides its lines.
import type uPlot from "uplot";
import type { Annotation } from "../../api/types";
import { theme } from "../../settings";
import { badRuns, type Line } from "./points";

const colours = new Map<string, string>();
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Colours as the theme has them: a canvas does not know CSS variables. */
export function colour(name: string): string {
  const key = `${name} ${theme.value} ${dark.matches}`;
  const known = colours.get(key);
  if (known) return known;
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  colours.set(key, found);
  return found;
}

export const PENS = 8;
export const pen = (index: number) => `pen-${index % PENS}`;

interface Painted {
  lines: readonly Line[];
  annotations: readonly Annotation[];
}

const STRIP = 4; // CSS pixels of a line's strip of quality

/** Bad and uncertain times of each line as a strip at the bottom and a shade above; times without readings hatched. */
export function paintBelow(u: uPlot, { lines }: Painted): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  const x = (ms: number) => Math.min(Math.max(u.valToPos(ms / 1000, "x", true), left), left + width);
  const strip = STRIP * devicePixelRatio;
  ctx.save();
  lines.forEach((line, index) => {
    const y = top + height - (index + 1) * (strip + 1);
    for (const [from, to, quality] of badRuns(line)) {
      const start = x(from);
      const end = Math.max(x(to), start + devicePixelRatio);
      if (end <= left || start >= left + width) continue;
      ctx.fillStyle = colour(quality === "bad" ? "bad" : "warn");
      ctx.globalAlpha = 0.1;
      ctx.fillRect(start, top, end - start, height);
      ctx.globalAlpha = 1;
      ctx.fillRect(start, y, end - start, strip);
    }
    ctx.strokeStyle = colour("soft");
    ctx.globalAlpha = 0.5;
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const [from, to] of line.gaps) {
      if (x(to) <= left || x(from) >= left + width) continue;
      ctx.strokeRect(x(from), y, x(to) - x(from), strip);
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  });
  ctx.restore();
}

/** Each annotation as a line at its start, a shade as long as it lasts, and its number. */
export function paintAbove(u: uPlot, { annotations }: Painted): void {
  const { ctx } = u;
  const { left, top, width, height } = u.bbox;
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  annotations.forEach((one, index) => {
    const from = u.valToPos(Date.parse(one.from) / 1000, "x", true);
    const to = u.valToPos(Date.parse(one.to) / 1000, "x", true);
    if (to < left || from > left + width) return;
    const start = Math.max(from, left);
    ctx.fillStyle = colour("link");
    ctx.globalAlpha = 0.08;
    ctx.fillRect(start, top, Math.max(Math.min(to, left + width) - start, 0), height);
    ctx.globalAlpha = 1;
    if (from >= left) ctx.fillRect(from, top, devicePixelRatio, height);
    const label = String(index + 1);
    const box = ctx.measureText(label).width + 8 * devicePixelRatio;
    ctx.fillRect(start, top, box, 15 * devicePixelRatio);
    ctx.fillStyle = colour("ground");
    ctx.fillText(label, start + 4 * devicePixelRatio, top + 2 * devicePixelRatio);
  });
  ctx.restore();
}
