// The alarms that stand, and what is done about several of them at once.
import { Component } from "preact";
import { useCallback, useState } from "preact/hooks";
import { mayWrite } from "../../api/person";
import type { Alarm } from "../../api/types";
import { count, moment } from "../../format";
import { text } from "../../text";
import { isHidden, nameOf, PriorityOf, StateOf, toAlarm } from "../../ui/alarm";
import { Chunk, CHUNK, chunks } from "../../ui/chunk";
import { Measured } from "../../ui/measured";
import { Ask, Do, possible, type Action } from "./do";

const COLUMNS = 6; // without what only operators have
const BUTTONS = 2; // in a row: the likeliest

export function Standing({ items, done }: { items: readonly Alarm[]; done: () => void }) {
  const { head } = text.alarms;
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const picked = items.filter((one) => chosen.has(one.id));
  const may = mayWrite.value;
  const choose = useCallback((id: string, on: boolean) => {
    setChosen((old) => {
      const next = new Set(old);
      if (on) next.add(id);
      else next.delete(id);
      return next;
    });
  }, []);
  const all = (on: boolean) => setChosen(new Set(on ? items.map((one) => one.id) : []));
  return (
    <>
      <div class="bar">
        <span class="dim num" role="status">
          {text.alarms.count(items.length)}
        </span>
        {may && <Several alarms={picked} done={done} />}
      </div>
      <div class="scroll" tabIndex={0}>
        <table class="rows stack standing" aria-rowcount={items.length + 1}>
          <thead>
            <tr>
              {may && (
                <th class="of-choice">
                  <input
                    type="checkbox"
                    aria-label={text.alarms.selectAll}
                    checked={picked.length > 0 && picked.length === items.length}
                    onChange={(event) => all(event.currentTarget.checked)}
                  />
                </th>
              )}
              <th class="of-priority">{head.priority}</th>
              <th class="of-time">{head.time}</th>
              <th class="of-alarm">{head.alarm}</th>
              <th>{head.text}</th>
              <th class="of-value">{head.value}</th>
              <th class="of-state">{head.state}</th>
              {may && <th class="of-action">{head.action}</th>}
            </tr>
          </thead>
          {chunks(items.length).map((start) => {
            const some = items.slice(start, start + CHUNK);
            return (
              <Chunk
                key={start}
                first={!start}
                count={some.length}
                columns={may ? COLUMNS + 2 : COLUMNS}
                rows={() =>
                  some.map((one) => (
                    <Row key={one.topic} alarm={one} chosen={chosen.has(one.id)} choose={choose} done={done} may={may} />
                  ))
                }
              />
            );
          })}
        </table>
      </div>
    </>
  );
}

/** A button for whatever can be done about some of those that are chosen. */
function Several({ alarms, done }: { alarms: readonly Alarm[]; done: () => void }) {
  const [asked, setAsked] = useState<{ action: Action; alarms: readonly Alarm[] }>();
  const able = Map.groupBy(
    alarms.flatMap((alarm) => possible(alarm).map((action) => ({ action, alarm }))),
    ({ action }) => action,
  );
  return (
    <span class="buttons">
      {[...able].map(([action, those]) => (
        <button key={action} onClick={() => setAsked({ action, alarms: those.map(({ alarm }) => alarm) })}>
          {text.alarms.actions[action]} ({count(those.length)})
        </button>
      ))}
      {asked && <Ask {...asked} close={() => setAsked(undefined)} done={done} />}
    </span>
  );
}

interface RowProps {
  alarm: Alarm;
  chosen: boolean;
  choose: (id: string, on: boolean) => void;
  done: () => void;
  may: boolean;
}

/** In a flood the list is asked for again and again: a row is drawn anew only if its alarm has changed. */
class Row extends Component<RowProps> {
  override shouldComponentUpdate(next: RowProps): boolean {
    return next.chosen !== this.props.chosen || next.may !== this.props.may || isAnother(this.props.alarm, next.alarm);
  }

  render({ alarm, chosen, choose, done, may }: RowProps) {
    const { head } = text.alarms;
    return (
      <tr class={chosen ? "chosen" : ""}>
        {may && (
          <td>
            <input
              type="checkbox"
              checked={chosen}
              aria-label={text.tags.select(nameOf(alarm))}
              onChange={(event) => choose(alarm.id, event.currentTarget.checked)}
            />
          </td>
        )}
        <td data-label={head.priority}>
          <PriorityOf alarm={alarm} />
        </td>
        <td data-label={head.time}>
          {moment(alarm.occurrence)}
        </td>
        <td data-label={head.alarm}>
          <a href={toAlarm(alarm)}>{nameOf(alarm)}</a>
        </td>
        <td data-label={head.text}>
          {alarm.text} {isHidden(alarm) && alarm.reason && <small>({alarm.reason})</small>}
        </td>
        <td data-label={head.value}>
          <Measured alarm={alarm} />
        </td>
        <td data-label={head.state}>
          <StateOf alarm={alarm} />
        </td>
        {may && (
          <td data-label={head.action}>
            <Do alarm={alarm} actions={possible(alarm).slice(0, BUTTONS)} done={done} />
          </td>
        )}
      </tr>
    );
  }
}

function isAnother(a: Alarm, b: Alarm): boolean {
  return (Object.keys(b) as (keyof Alarm)[]).some((key) => a[key] !== b[key]);
}
