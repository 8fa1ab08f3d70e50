// Which tags are shown, and in which order.
import { reading } from "../../api/live";
import type { Device, Tag } from "../../api/types";
import type { Cell } from "../../ui/save";
import { isWrong } from "../plant/tree";
import { COLUMNS } from "./columns";

export const SHOWS = ["", "problems", "writable"] as const;
export type Show = (typeof SHOWS)[number];
export type Devices = ReadonlyMap<string, Device>;

/** `sort` is a column, with a minus from the last to the first; empty is by topic. */
export interface Choice {
  show: Show;
  sort: string;
}

/** Both need every tag and its value, not only those in sight. */
export const isOfAll = ({ show, sort }: Choice) => show !== "" || sort !== "";

export function chosen(tags: readonly Tag[], { show, sort }: Choice, devices: Devices): Tag[] {
  const kept = tags.filter((tag) => show === "" || (show === "writable" ? tag.writable === true : hasProblem(tag, devices)));
  const column = COLUMNS.find((one) => one.id === sort.replace("-", ""));
  if (!column) return sort === "-topic" ? kept.toReversed() : kept;
  const turn = sort.startsWith("-") ? -1 : 1;
  const key = column.key ?? column.raw;
  const keyed = kept.map((tag) => [key(tag, reading(tag.topic).peek(), devices.get(tag.device)), tag] as const);
  return keyed.toSorted(([a], [b]) => compared(a, b, turn)).map(([, tag]) => tag);
}

/** Its value is not good, or nobody can read it now. */
function hasProblem(tag: Tag, devices: Devices): boolean {
  const device = devices.get(tag.device);
  return reading(tag.topic).peek()?.quality !== "good" || (device !== undefined && device.state !== "degraded" && isWrong(device));
}

const collator = new Intl.Collator(undefined, { numeric: true });

/** What is missing comes last, whatever the turn. */
function compared(a: Cell, b: Cell, turn: number): number {
  const [noA, noB] = [a, b].map((one) => one === null || one === undefined || one === "");
  if (noA || noB) return Number(noA) - Number(noB);
  if (typeof a === "string" && typeof b === "string") return turn * collator.compare(a, b);
  return turn * (Number(a) - Number(b)) || 0;
}
