// How many alarms were raised in each 10 minutes, as bars.
import type { Statistics } from "../../api/types";
import { count, moment } from "../../format";
import { text } from "../../text";
import { niceTop, ticks } from "./axis";

const MOST_BARS = 240; // of more, the highest of some beside each other is drawn
const WIDTH = 1_000;
const HEIGHT = 140;
const SLOT_MS = 600_000;

interface Bar {
  from: string;
  raised: number;
}

export function Rate({ of, flood }: { of: Statistics["rate"]; flood: number }) {
  const bars = grouped(of);
  const most = bars.reduce((found, one) => Math.max(found, one.raised), 0);
  const top = niceTop(Math.max(most, flood));
  const y = (raised: number) => HEIGHT - (raised / top) * HEIGHT;
  const step = WIDTH / Math.max(1, bars.length);
  const from = Date.parse(of[0]?.time ?? "");
  const length = of.length * SLOT_MS;
  return (
    <figure class="rate">
      <div class="rate-axis num" aria-hidden="true">
        <span>{count(top)}</span>
        <span>{count(top / 2)}</span>
        <span>0</span>
      </div>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={text.statistics.rateSays(most)}>
        {bars.map((one, index) => (
          <rect
            key={one.from}
            class={one.raised > flood ? "flood" : ""}
            x={index * step}
            y={y(one.raised)}
            width={Math.max(1, step - 1)}
            height={HEIGHT - y(one.raised)}
          >
            <title>{`${moment(one.from)}: ${count(one.raised)}`}</title>
          </rect>
        ))}
        <line x1="0" x2={WIDTH} y1={y(flood)} y2={y(flood)} />
      </svg>
      <figcaption class="num dim">
        {ticks(from, from + length).map(({ at, says }) => (
          <span key={at} style={{ left: `${((at - from) / length) * 100}%` }}>
            {says}
          </span>
        ))}
      </figcaption>
      <p class="dim">{text.statistics.floodLine(flood)}</p>
    </figure>
  );
}

function grouped(of: Statistics["rate"]): Bar[] {
  const size = Math.ceil(of.length / MOST_BARS);
  const bars: Bar[] = [];
  for (let at = 0; at < of.length; at += size) {
    const some = of.slice(at, at + size);
    bars.push({ from: some[0]!.time, raised: Math.max(...some.map((one) => one.raised)) });
  }
  return bars;
}
