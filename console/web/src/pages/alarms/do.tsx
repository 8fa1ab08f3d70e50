// What a person does about an alarm, with a reason.
import { useState } from "preact/hooks";
import { useAct } from "../../api/act";
import { post } from "../../api/http";
import type { Alarm } from "../../api/types";
import { duration, moment } from "../../format";
import { text } from "../../text";
import { isCalling, nameOf } from "../../ui/alarm";
import { Dialog } from "../../ui/dialog";
import { Trouble } from "../../ui/messages";

type Action = keyof typeof text.alarms.actions;
const LENGTHS_S = [900, 3_600, 4 * 3_600, 8 * 3_600, 86_400, 3 * 86_400, 7 * 86_400];
const USUAL_S = 3_600;
const LONGEST_REASON = 500;

/** What can be asked for in its state, the likeliest first. */
export function possible(alarm: Alarm): Action[] {
  if (alarm.state === "shelved") return ["unshelve", "comment"];
  if (alarm.state === "suppressed") return ["unsuppress", "comment"];
  if (alarm.state === "out-of-service") return ["in-service", "comment"];
  const first: Action[] = isCalling(alarm) ? ["acknowledge"] : alarm.state === "latched" ? ["reset"] : [];
  return [...first, "shelve", "comment", "out-of-service"];
}

interface Props {
  alarm: Alarm;
  actions: readonly Action[];
  done: () => void;
}

export function Do({ alarm, actions, done }: Props) {
  const [asked, setAsked] = useState<Action>();
  return (
    <span class="buttons">
      {actions.map((action) => (
        <button key={action} onClick={() => setAsked(action)}>
          {text.alarms.actions[action]}
        </button>
      ))}
      {asked && <Ask alarm={alarm} action={asked} close={() => setAsked(undefined)} done={done} />}
    </span>
  );
}

function Ask({ alarm, action, close, done }: { alarm: Alarm; action: Action; close: () => void; done: () => void }) {
  const act = useAct();
  const [reason, setReason] = useState("");
  const [seconds, setSeconds] = useState(USUAL_S);
  const ask = async () => {
    const body = action === "shelve" ? { reason, seconds } : { reason };
    if (!(await act.run(() => post(`alarms/${alarm.id}/${action}`, body)))) return;
    close();
    done();
  };
  return (
    <Dialog title={text.alarms.actions[action]} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void ask();
        }}
      >
        <p>
          {nameOf(alarm)}: {alarm.text}
        </p>
        {action === "shelve" && (
          <label class="field">
            <span>{text.alarms.shelveFor}</span>
            <select value={seconds} onChange={(event) => setSeconds(Number(event.currentTarget.value))}>
              {LENGTHS_S.map((one) => (
                <option key={one} value={one}>
                  {duration(one)}
                </option>
              ))}
            </select>
            <span>{text.alarms.ends(moment(Date.now() + seconds * 1_000))}</span>
          </label>
        )}
        <label class="field">
          <span>{text.alarms.reason}</span>
          <input
            value={reason}
            maxLength={LONGEST_REASON}
            required={action === "comment"}
            autofocus
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        {act.problem && <Trouble problem={act.problem} />}
        <p class="bar">
          <button class="primary" disabled={act.busy}>
            {text.alarms.actions[action]}
          </button>
          <button type="button" onClick={close}>
            {text.common.cancel}
          </button>
        </p>
      </form>
    </Dialog>
  );
}
