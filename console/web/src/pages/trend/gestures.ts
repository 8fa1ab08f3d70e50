// Moving and zooming with mouse, fingers and wheel.
import type uPlot from "uplot";

export interface Moves {
  /** Shows what was moved so far, without asking for it. */
  preview: (from: number, to: number) => void;
  /** The range that was chosen, in milliseconds. */
  settle: (from: number, to: number) => void;
}

const WHEEL_STEP = 1.25;
const SETTLE_MS = 200;

/** Shift-drag or a finger moves, two fingers and Ctrl-wheel zoom. Returns what undoes it. */
export function gestures(u: uPlot, { preview, settle }: Moves): () => void {
  const { over } = u;
  const fingers = new Map<number, number>();
  let range: [number, number] = [0, 0];
  let begun: { range: [number, number]; left: number; spread: number } | undefined;
  let timer = 0;

  const scale = (): [number, number] => [u.scales.x!.min! * 1000, u.scales.x!.max! * 1000];
  const begin = () => {
    const at = [...fingers.values()];
    begun = { range: scale(), left: Math.min(...at), spread: Math.max(...at) - Math.min(...at) };
  };
  const down = (event: PointerEvent) => {
    if (event.pointerType === "mouse" && !event.shiftKey) return;
    fingers.set(event.pointerId, event.clientX);
    over.setPointerCapture(event.pointerId);
    begin();
  };
  const move = (event: PointerEvent) => {
    if (!begun || !fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, event.clientX);
    const at = [...fingers.values()];
    const [from, to] = begun.range;
    const factor = begun.spread > 20 ? begun.spread / Math.max(20, Math.max(...at) - Math.min(...at)) : 1;
    const perPixel = ((to - from) * factor) / over.clientWidth;
    const held = from + ((to - from) / over.clientWidth) * (begun.left - u.rect.left);
    const start = held - perPixel * (Math.min(...at) - u.rect.left);
    range = [start, start + (to - from) * factor];
    preview(...range);
  };
  const up = (event: PointerEvent) => {
    if (!fingers.delete(event.pointerId) || !begun) return;
    if (fingers.size) return begin();
    begun = undefined;
    if (range[1] > range[0]) settle(...range);
    range = [0, 0];
  };
  const wheel = (event: WheelEvent) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const [from, to] = scale();
    const factor = event.deltaY > 0 ? WHEEL_STEP : 1 / WHEEL_STEP;
    const held = from + ((to - from) * (event.clientX - u.rect.left)) / over.clientWidth;
    const next: [number, number] = [held - (held - from) * factor, held + (to - held) * factor];
    preview(...next);
    clearTimeout(timer);
    timer = setTimeout(() => settle(...next), SETTLE_MS);
  };
  over.addEventListener("pointerdown", down);
  over.addEventListener("pointermove", move);
  over.addEventListener("pointerup", up);
  over.addEventListener("pointercancel", up);
  over.addEventListener("wheel", wheel, { passive: false });
  return () => clearTimeout(timer);
}
