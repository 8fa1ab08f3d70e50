// How well alarms serve people, by EEMUA 191: figures beside their goals, and what they are made of.
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { useAsk } from "../../api/ask";
import type { Statistics } from "../../api/types";
import { count, duration, percent, rough, shareOf } from "../../format";
import { to } from "../../router";
import { text } from "../../text";
import { Level } from "../../ui/alarm";
import { Empty, Status } from "../../ui/messages";
import { Rate } from "./rate";
import { since, type Length } from "./range";

const EVERY_MS = 60_000;
// Goals of EEMUA 191, for each operator.
const GOAL = { per_10_minutes: 1, peak_10_minutes: 10, flood_share: 0.01, top_10_share: 0.05, chattering: 0, standing: 9, stale: 0 };
const FEW = 10 / GOAL.top_10_share; // of fewer alarms, ten are always more than the goal

export function Figures({ length }: { length: Length }) {
  const from = useMemo(() => since(length), [length]);
  const answer = useAsk("alarms/statistics", { from }, EVERY_MS);
  return (
    <>
      <p class="dim">{text.statistics.about}</p>
      <Status of={answer} />
      {answer.data && <All of={answer.data} />}
    </>
  );
}

function All({ of }: { of: Statistics }) {
  return (
    <>
      <Goals of={of} />
      {of.raised ? (
        <>
          <section aria-labelledby="rate">
            <h2 id="rate">{text.statistics.rate}</h2>
            <Rate of={of.rate} flood={GOAL.peak_10_minutes} />
          </section>
          <Often of={of} />
          <Responses of={of} />
        </>
      ) : (
        <Empty title={text.statistics.empty} detail={text.statistics.emptyDetail} />
      )}
    </>
  );
}

function Goals({ of }: { of: Statistics }) {
  const { figure, goal } = text.statistics;
  return (
    <dl class="numbers figures">
      <Figure name={figure.raised}>{count(of.raised)}</Figure>
      <Figure name={figure.rate} goal={goal.rate} missed={of.per_10_minutes > GOAL.per_10_minutes}>
        {rough(of.per_10_minutes)}
      </Figure>
      <Figure name={figure.peak} goal={goal.peak} missed={of.peak_10_minutes > GOAL.peak_10_minutes}>
        {count(of.peak_10_minutes)}
      </Figure>
      <Figure name={figure.flood} goal={goal.flood} missed={of.flood_share >= GOAL.flood_share}>
        {percent(of.flood_share)}
      </Figure>
      <Figure
        name={figure.top}
        goal={of.raised < FEW ? goal.topOfFew(FEW) : goal.top}
        missed={of.raised >= FEW && (of.top_10_share ?? 0) > GOAL.top_10_share}
      >
        {percent(of.top_10_share)}
      </Figure>
      <Figure name={figure.chattering} goal={goal.none} missed={of.chattering > GOAL.chattering}>
        {count(of.chattering)}
      </Figure>
      <Figure name={figure.standing} goal={goal.standing} missed={of.standing > GOAL.standing}>
        <a href={to("/alarms", { list: "active" })}>{count(of.standing)}</a>
      </Figure>
      <Figure name={figure.stale} goal={goal.none} missed={of.stale > GOAL.stale}>
        {count(of.stale)}
      </Figure>
      <Figure name={figure.shelved}>
        <a href={to("/alarms", { list: "shelved" })}>{count(of.shelved)}</a>
      </Figure>
      <Figure name={figure.response}>{duration(of.median_response)}</Figure>
    </dl>
  );
}

function Figure(props: { name: string; goal?: string; missed?: boolean; children: ComponentChildren }) {
  return (
    <div class={`number ${props.missed ? "warn" : ""}`}>
      <dt>{props.name}</dt>
      <dd>
        <span class="figure">{props.children}</span>
        <small>{props.goal ? text.statistics.goalIs(props.goal) : "\u00a0"}</small>
      </dd>
    </div>
  );
}

/** The alarms that are raised most often, and those that chatter. */
function Often({ of }: { of: Statistics }) {
  const { head } = text.statistics;
  const bursts = new Map(of.chatterers.map((one) => [one.topic, one.bursts]));
  const topics = new Set(of.top.map((one) => one.topic));
  const others = of.chatterers.filter((one) => !topics.has(one.topic)).map((one) => ({ ...one, priority: null, share: one.raised / of.raised }));
  return (
    <section aria-labelledby="often">
      <h2 id="often">{text.statistics.often}</h2>
      {bursts.size > 0 && <p class="dim">{text.statistics.burstsAre}</p>}
      <div class="scroll" tabIndex={0}>
        <table class="rows stack">
          <thead>
            <tr>
              <th>{text.alarms.head.alarm}</th>
              <th>{text.alarms.head.priority}</th>
              <th>{text.alarms.head.text}</th>
              <th class="num">{head.raised}</th>
              <th class="share">{head.share}</th>
              <th class="num" title={text.statistics.burstsAre}>{head.bursts}</th>
            </tr>
          </thead>
          <tbody>
            {[...of.top, ...others].map((one) => (
              <tr key={one.topic}>
                <th scope="row">
                  <a href={to("/alarms", { list: "history", q: one.topic.replace("alarm/", "") })}>{one.topic.replace("alarm/", "")}</a>
                </th>
                <td data-label={text.alarms.head.priority}>{one.priority && <Level of={one.priority} />}</td>
                <td data-label={text.alarms.head.text}>{one.text}</td>
                <td class="num" data-label={head.raised}>{count(one.raised)}</td>
                <td class="share" data-label={head.share}>
                  <span class="bar-of" style={{ width: `${Math.max(1, one.share * 100)}%` }} />
                  <span>{shareOf(one.share)}</span>
                </td>
                <td class="num" data-label={head.bursts}>{bursts.has(one.topic) ? <span class="state warn">{count(bursts.get(one.topic))}</span> : "–"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Responses({ of }: { of: Statistics }) {
  const { head } = text.statistics;
  return (
    <section aria-labelledby="responses">
      <h2 id="responses">{text.statistics.responses}</h2>
      <div class="scroll" tabIndex={0}>
        <table class="rows stack">
          <thead>
            <tr>
              <th>{text.alarms.head.priority}</th>
              <th class="num">{head.occurrences}</th>
              <th class="num">{head.acknowledged}</th>
              <th class="num">{head.median}</th>
              <th class="num">{head.p95}</th>
              <th class="num">{head.longest}</th>
            </tr>
          </thead>
          <tbody>
            {of.response.map((one) => (
              <tr key={one.priority}>
                <th scope="row">
                  <Level of={one.priority} />
                </th>
                <td class="num" data-label={head.occurrences}>{count(one.raised)}</td>
                <td class="num" data-label={head.acknowledged}>{count(one.acknowledged)}</td>
                <td class="num" data-label={head.median}>{duration(one.median)}</td>
                <td class="num" data-label={head.p95}>{duration(one.p95)}</td>
                <td class="num" data-label={head.longest}>{duration(one.longest)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
