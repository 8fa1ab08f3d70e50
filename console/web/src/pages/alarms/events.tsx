// Events of alarms as a table.
import type { Alarm } from "../../api/types";
import { moment } from "../../format";
import { text } from "../../text";
import { nameOf, PriorityOf, toAlarm } from "../../ui/alarm";
import { Measured } from "../../ui/measured";

/** What happened, the newest first; `named` says to which alarm. */
export function Events({ items, named = false }: { items: readonly Alarm[]; named?: boolean }) {
  const { head } = text.alarms;
  return (
    <div class="scroll" tabIndex={0}>
      <table class="rows stack">
        <thead>
          <tr>
            <th>{head.at}</th>
            <th>{head.event}</th>
            {named && <th>{head.priority}</th>}
            {named && <th>{head.alarm}</th>}
            <th>{head.value}</th>
            <th>{head.state}</th>
            <th>{head.by}</th>
            <th>{head.reason}</th>
          </tr>
        </thead>
        <tbody>
          {items.map((one) => (
            <tr key={`${one.id} ${one.time} ${one.state}`}>
              <td data-label={head.at} class="nowrap">
                {moment(one.time, true)}
              </td>
              <td data-label={head.event}>{text.alarms.events[one.event]}</td>
              {named && (
                <td data-label={head.priority}>
                  <PriorityOf alarm={one} />
                </td>
              )}
              {named && (
                <td data-label={head.alarm}>
                  <a href={toAlarm(one)}>{nameOf(one)}</a> <small>{one.text}</small>
                </td>
              )}
              <td data-label={head.value} class="nowrap">
                <Measured alarm={one} />
              </td>
              <td data-label={head.state}>{text.alarms.state[one.state]}</td>
              <td data-label={head.by}>{one.by ?? ""}</td>
              <td data-label={head.reason}>{one.reason}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
