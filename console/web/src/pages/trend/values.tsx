// The lines of the chart, with their values at the cursor and now.
import { reading } from "../../api/live";
import type { Value } from "../../api/types";
import { moment } from "../../format";
import { text } from "../../text";
import { brief } from "../../topic";
import { Icon } from "../../ui/icon";
import { Rounded } from "../../ui/measured";
import { Age, QualityOf } from "../../ui/state";
import { pen } from "./paint";
import { before, type Line } from "./points";

interface Props {
  lines: readonly Line[];
  hidden: readonly string[];
  cursor: number | null;
  toggle: (topic: string) => void;
  remove: (topic: string) => void;
}

export function Values({ lines, hidden, cursor, toggle, remove }: Props) {
  const { head } = text.trend;
  return (
    <div class="scroll" tabIndex={0}>
      <table class="rows values">
        <thead>
          <tr>
            <th>{head.topic}</th>
            <th class="num at">
              {cursor === null ? head.last : head.at} {cursor !== null && <time class="num">{moment(cursor)}</time>}
            </th>
            <th class="num">{head.minmax}</th>
            <th>{head.quality}</th>
            <th class="num">{head.now}</th>
            <th class="wide">{head.shown}</th>
            <th>
              <span class="hidden-visually">{text.common.delete}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {lines.map((line, index) => (
            <Row
              key={line.topic}
              line={line}
              index={index}
              shown={!hidden.includes(line.topic)}
              cursor={cursor}
              toggle={toggle}
              remove={remove}
            />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Extremes({ of: { points, steps } }: { of: Line }) {
  let [min, max] = [Infinity, -Infinity];
  for (const point of points) {
    if (point.min !== null && point.min < min) min = point.min;
    if (point.max !== null && point.max > max) max = point.max;
  }
  return steps || min > max ? <>–</> : <Between min={min} max={max} />;
}

function Between({ min, max }: { min: number; max: number }) {
  return (
    <>
      <Rounded of={min} />
      {min < max && (
        <>
          {" – "}
          <Rounded of={max} />
        </>
      )}
    </>
  );
}

/** The database holds on and off as 1 and 0, and a bucket how much of it was on. */
function ValueOf({ line, of }: { line: Line; of: Value | undefined }) {
  if (!line.steps || typeof of !== "number") return <Rounded of={of} />;
  return of > 0 && of < 1 ? <>{text.trend.onShare(Math.round(of * 100))}</> : <Rounded of={of === 1} />;
}

/** What a point stands for. */
function resolution(of: string): string {
  if (of === "") return "";
  return of === "raw" ? text.trend.raw : text.trend.bucket(of);
}

interface RowProps extends Omit<Props, "lines" | "hidden"> {
  line: Line;
  index: number;
  shown: boolean;
}

function Row({ line, index, shown, cursor, toggle, remove }: RowProps) {
  const at = cursor === null ? line.points.at(-1) : before(line, cursor, Date.now());
  const ofBucket = at && !line.steps && at.min !== null && at.max !== null && at.min < at.max;
  const live = reading(line.topic).value;
  const unit = line.unit ?? live?.unit ?? "";
  return (
    <tr>
      <th scope="row">
        <button
          class="quiet"
          aria-pressed={shown}
          aria-label={shown ? text.trend.hide(line.topic) : text.trend.show(line.topic)}
          onClick={() => toggle(line.topic)}
        >
          <i class={`pen ${pen(index)} ${shown ? "" : "off"}`} />
        </button>
        {brief(line.topic)}
      </th>
      <td class="num at">
        <ValueOf line={line} of={at?.shown} /> <small>{unit}</small>
        {ofBucket && <small class="of-bucket"><Between min={at.min!} max={at.max!} /></small>}
      </td>
      <td class="num"><Extremes of={line} /></td>
      <td>
        <QualityOf of={at?.quality} />
      </td>
      <td class="num">
        {live ? (
          <>
            <ValueOf line={line} of={live.value} /> <small>{unit}</small> <small class="age"><Age of={live.time} /></small>
          </>
        ) : (
          "–"
        )}
      </td>
      <td class="wide dim">
        {line.text ? text.trend.textOnly : resolution(line.resolution)}
      </td>
      <td>
        <button class="quiet" onClick={() => remove(line.topic)}>
          <Icon name="close" label={text.trend.remove(line.topic)} />
        </button>
      </td>
    </tr>
  );
}
