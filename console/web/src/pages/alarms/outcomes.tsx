// What became of each alarm that something was done about.
import type { Alarm, Result } from "../../api/types";
import { text } from "../../text";
import { nameOf } from "../../ui/alarm";
import { Icon } from "../../ui/icon";
import { Notice, reason } from "../../ui/messages";

interface Props {
  alarms: readonly Alarm[];
  results: readonly Result[];
}

/** Those first that were not done. */
export function Outcomes({ alarms, results }: Props) {
  const byId = new Map(results.map((one) => [one.id, one]));
  const rows = alarms.map((alarm) => ({ alarm, result: byId.get(alarm.id) }));
  const done = rows.filter(({ result }) => result?.ok).length;
  return (
    <>
      <p role="status">{text.alarms.doneOf(done, alarms.length)}</p>
      {results.some((one) => one.ok !== false && !one.recorded) && <Notice kind="warn">{text.common.unrecorded}</Notice>}
      <div class="scroll outcomes" tabIndex={0}>
        <table class="rows stack">
          <thead>
            <tr>
              <th>{text.alarms.head.alarm}</th>
              <th>{text.alarms.head.outcome}</th>
            </tr>
          </thead>
          <tbody>
            {rows
              .toSorted((a, b) => Number(a.result?.ok === true) - Number(b.result?.ok === true))
              .map(({ alarm, result }) => (
                <tr key={alarm.id}>
                  <th scope="row">{nameOf(alarm)}</th>
                  <td data-label={text.alarms.head.outcome}>
                    <Outcome of={result} />
                  </td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Outcome({ of }: { of: Result | undefined }) {
  if (!of) return <span class="dim">{text.alarms.notAsked}</span>;
  if (of.ok) return <>{of.state ? text.alarms.state[of.state] : text.alarms.isDone}</>;
  const level = of.ok === null ? "warn" : "bad";
  return (
    <>
      <span class={`state ${level}`}>
        <Icon name={level} />
        {of.ok === null ? text.alarms.notKnown : text.alarms.notDone}
      </span>{" "}
      {reason(of.error ?? "")}
    </>
  );
}
