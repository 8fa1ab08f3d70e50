// The chart as a picture, with what is in it.
import type uPlot from "uplot";
import { local, timeZone } from "../../format";
import { save } from "../../ui/save";
import { colour, pen } from "./paint";
import type { Line } from "./points";
import type { View } from "./view";

const LINE_PX = 18;

export function savePicture(u: uPlot, lines: readonly Line[], view: View): void {
  const shown = lines.map((line, index) => ({ line, index })).filter(({ line }) => !view.hidden.includes(line.topic));
  const head = (shown.length + 1) * LINE_PX + 12;
  const canvas = document.createElement("canvas");
  canvas.width = u.ctx.canvas.width;
  canvas.height = u.ctx.canvas.height + head * devicePixelRatio;
  const ctx = canvas.getContext("2d")!;
  ctx.fillStyle = colour("panel");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.drawImage(u.ctx.canvas, 0, head * devicePixelRatio);
  ctx.scale(devicePixelRatio, devicePixelRatio);
  ctx.font = "13px system-ui, sans-serif";
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  ctx.fillStyle = colour("ink");
  ctx.fillText(`${local(view.from)} – ${local(view.to)} ${timeZone}`, 12, LINE_PX / 2 + 6);
  shown.forEach(({ line, index }, row) => {
    const y = (row + 1.5) * LINE_PX + 6;
    ctx.fillStyle = colour(pen(index));
    ctx.fillRect(12, y - 2, 16, 4);
    ctx.fillStyle = colour("ink");
    ctx.fillText(`${line.topic} ${line.unit ? `(${line.unit})` : ""}`, 36, y);
  });
  canvas.toBlob((blob) => blob && save("trend.png", blob), "image/png");
}
