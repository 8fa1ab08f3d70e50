// Who was told of alarms, who was not, and once more.
import { useEffect } from "preact/hooks";
import { useAct } from "../api/act";
import { address, call } from "../api/http";
import { usePages } from "../api/pages";
import { isOperator, mayWrite } from "../api/person";
import type { Notification } from "../api/types";
import { count, moment } from "../format";
import { go, query, to } from "../router";
import { text } from "../text";
import { Icon } from "../ui/icon";
import { Empty, Notice, Status, Trouble } from "../ui/messages";
import { Prose } from "../ui/prose";
import { Tries } from "./notifications/tries";

const AGAIN_MS = 5_000; // while some wait
const STATES = ["pending", "dead", "sent", "digested"] as const;
const LEVEL: Record<Notification["state"], string> = { pending: "warn", dead: "bad", sent: "normal", digested: "dim" };

export default function Notifications() {
  return (
    <>
      <div class="bar">
        <h1>{text.nav.notifications}</h1>
      </div>
      {isOperator.value ? <List /> : <Notice kind="info">{text.common.needs(text.role.operator)}</Notice>}
    </>
  );
}

function List() {
  const asked = Object.fromEntries(["state", "receiver", "digest"].map((name) => [name, query.value.get(name) ?? ""]));
  const show = (next: Record<string, string>) => go(to("/notifications", { ...asked, ...next }), true);
  const isNarrowed = Object.values(asked).some(Boolean);
  const pages = usePages("notifications", asked);
  const { first } = pages;
  const isWaiting = pages.items.some((one) => one.state === "pending") && pages.items.length <= (first?.items.length ?? 0);
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setTimeout(pages.again, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [isWaiting, first]);
  return (
    <>
      <div class="bar">
        <select aria-label={text.notifications.head.state} value={asked.state} onChange={(event) => show({ state: event.currentTarget.value })}>
          <option value="">{text.notifications.everyState}</option>
          {STATES.map((one) => (
            <option key={one} value={one}>
              {text.notifications.state[one]}
            </option>
          ))}
        </select>
        <select
          key={first?.receivers.length}
          aria-label={text.notifications.head.receiver}
          value={asked.receiver}
          onChange={(event) => show({ receiver: event.currentTarget.value })}
        >
          <option value="">{text.notifications.everyReceiver}</option>
          {(first?.receivers ?? []).map((one) => (
            <option key={one}>{one}</option>
          ))}
        </select>
        {asked.digest && (
          <span class="chip">
            {text.notifications.ofDigest(asked.digest)}
            <button class="quiet" onClick={() => show({ digest: "" })}>
              <Icon name="close" label={text.common.all} />
            </button>
          </span>
        )}
        {first && <span role="status">{text.notifications.counts(count(first.pending), count(first.dead))}</span>}
      </div>
      <Status of={{ data: first, problem: pages.problem, asking: pages.asking, again: pages.again }} />
      {first && !pages.items.length && (isNarrowed || first.receivers.length > 0 ? <Empty title={text.notifications.empty} /> : <None />)}
      {pages.items.length > 0 && <Table items={pages.items} again={pages.again} />}
      {pages.more && (
        <p>
          <button onClick={pages.more}>{text.common.more}</button>
        </p>
      )}
    </>
  );
}

/** There has never been one: what to set up, and where. */
function None() {
  return (
    <div class="empty">
      <p class="empty-title">{text.notifications.none}</p>
      <p>{text.notifications.noneDetail}</p>
      <ol class="steps">
        {text.notifications.steps.map((step) => (
          <li key={step}>
            <Prose of={step} />
          </li>
        ))}
      </ol>
      <p>
        <Prose of={text.notifications.docs} />
      </p>
    </div>
  );
}

function Table({ items, again }: { items: readonly Notification[]; again: () => void }) {
  const { head } = text.notifications;
  return (
    <div class="scroll" tabIndex={0}>
      <table class="rows stack">
        <thead>
          <tr>
            <th>{head.time}</th>
            <th>{head.receiver}</th>
            <th>{head.state}</th>
            <th>{head.about}</th>
            <th class="num">{head.attempts}</th>
            <th>{head.answer}</th>
            <th>{head.next}</th>
          </tr>
        </thead>
        <tbody>
          {items.map((one) => (
            <tr key={one.id}>
              <td class="nowrap" data-label={head.time}>
                {moment(one.created)}
              </td>
              <td data-label={head.receiver}>
                {one.receiver} <small>{one.channel}</small>
              </td>
              <td data-label={head.state}>
                <span class={`state ${LEVEL[one.state]}`}>{text.notifications.state[one.state]}</span>
              </td>
              <td data-label={head.about}>
                <About of={one} />
              </td>
              <td class="num" data-label={head.attempts}>
                {count(one.attempted)}
              </td>
              <td data-label={head.answer}>
                <Tries of={one} />
              </td>
              <td class="nowrap" data-label={head.next}>
                {one.state === "pending" && moment(one.due)}
                {one.state === "dead" && one.channel !== "alertmanager" && mayWrite.value && <SendAgain of={one} done={again} />}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Which alarm, and what happened to it; or how many. */
function About({ of }: { of: Notification }) {
  const { priorities, events } = text.alarms;
  if (of.summary)
    return (
      <>
        <a href={to("/notifications", { digest: of.id })}>{text.notifications.digest(of.summary.count)}</a>{" "}
        <small>{of.summary.top[0]?.text}</small>
      </>
    );
  const said = of.kind === "escalation" ? text.notifications.escalation : worded(events, of.event);
  const name = of.topic.replace(/^alarm\//, "");
  return (
    <>
      {worded(priorities, of.priority)} · {said} <a href={to("/alarms", { list: "history", q: name })}>{name}</a>{" "}
      <small>
        {of.text} {of.late && text.notifications.late}
      </small>
    </>
  );
}

const worded = (words: Record<string, string>, of: string | null) => (of === null ? "–" : (words[of] ?? of));

function SendAgain({ of, done }: { of: Notification; done: () => void }) {
  const act = useAct();
  const send = async () => {
    if (await act.run(() => call("POST", address(`notifications/${of.id}/retry`)))) done();
  };
  return (
    <>
      <button disabled={act.busy} onClick={() => void send()}>
        {text.notifications.again}
      </button>
      {act.problem && <Trouble problem={act.problem} />}
    </>
  );
}
