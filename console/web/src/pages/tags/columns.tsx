// What the table of tags can show.
import type { ComponentChildren } from "preact";
import type { Reading } from "../../api/live";
import type { Device, Tag } from "../../api/types";
import { moment, typed, value } from "../../format";
import { toDevice } from "../../router";
import { load, save } from "../../settings";
import { text } from "../../text";
import type { Column } from "../../ui/grid";
import { Rounded } from "../../ui/measured";
import type { Cell } from "../../ui/save";
import { Age, QualityOf } from "../../ui/state";

export interface TagColumn extends Column {
  cell: (tag: Tag, reading: Reading | undefined, device: Device | undefined) => ComponentChildren;
  /** As it stands in a file. */
  raw: (tag: Tag, reading: Reading | undefined, device: Device | undefined) => Cell;
  /** What that is called there, if it is not what the page shows. */
  rawTitle?: string;
  /** What it is sorted by, if not as it stands in a file. */
  key?: (tag: Tag, reading: Reading | undefined) => Cell;
}

const { head } = text.tags;

function limits(tag: Tag): string {
  if (tag.min === null && tag.max === null) return "";
  return `${tag.min === null ? "" : value(tag.min)} … ${tag.max === null ? "" : value(tag.max)}`;
}

const isUnread = ({ state }: Device) => state === "offline" || state === "unknown";

/** Why a value is not good, or old. */
function cause(reading: Reading | undefined, device: Device | undefined): string {
  if (!device || (reading?.quality === "good" && !isUnread(device))) return "";
  return device.reason || text.plant.state[device.state];
}

function plain(id: keyof typeof head, width: string, of: (tag: Tag) => string | null): TagColumn {
  return { id, title: head[id], width, cell: (tag) => of(tag) ?? "–", raw: of };
}

export const COLUMNS: readonly TagColumn[] = [
  {
    id: "value",
    title: head.value,
    width: "minmax(6.5rem, 9rem)",
    numeric: true,
    cell: (tag, reading) => <Rounded of={typed(reading?.value, tag.type)} />,
    raw: (tag, reading) => typed(reading?.value, tag.type),
  },
  {
    id: "unit",
    title: head.unit,
    width: "5rem",
    cell: (tag, reading) => reading?.unit ?? tag.unit ?? "",
    raw: (tag, reading) => reading?.unit ?? tag.unit,
  },
  {
    id: "quality",
    title: head.quality,
    width: "6.5rem",
    cell: (_, reading) => <QualityOf of={reading?.quality} />,
    raw: (_, reading) => reading?.quality,
    key: (_, reading) => (reading ? ["bad", "uncertain", "good"].indexOf(reading.quality) : -1),
  },
  {
    id: "age",
    title: head.age,
    rawTitle: head.time,
    width: "5rem",
    numeric: true,
    cell: (_, reading, device) => (
      <span class={device && isUnread(device) ? "state warn" : ""} title={device?.reason}>
        <Age of={reading?.time} />
      </span>
    ),
    raw: (_, reading) => (reading ? new Date(reading.time).toISOString() : ""),
    key: (_, reading) => reading && -reading.time,
  },
  {
    id: "cause",
    title: head.cause,
    width: "minmax(10rem, 1.6fr)",
    cell: (_, reading, device) => <span title={cause(reading, device)}>{cause(reading, device)}</span>,
    raw: (_, reading, device) => cause(reading, device),
  },
  plain("address", "minmax(7rem, 1fr)", (tag) => tag.address),
  plain("type", "6rem", (tag) => tag.type),
  {
    id: "device",
    title: head.device,
    width: "minmax(9rem, 1.4fr)",
    cell: (tag) => <a href={toDevice(tag.device)}>{tag.device}</a>,
    raw: (tag) => tag.device,
  },
  {
    id: "writable",
    title: head.writable,
    width: "6rem",
    cell: (tag) => (tag.writable ? <a href={`/writes?topic=${encodeURIComponent(tag.topic)}`}>{text.common.yes}</a> : ""),
    raw: (tag) => tag.writable,
  },
  plain("limits", "8rem", limits),
  plain("since", "11rem", (tag) => (tag.since ? moment(tag.since) : null)),
];

const USUAL = ["value", "unit", "quality", "age", "address", "type", "device"];

export const loadColumns = () => load<string[]>("tags.columns", USUAL);
export const saveColumns = (ids: readonly string[]) => save("tags.columns", ids);
