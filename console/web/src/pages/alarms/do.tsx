// What a person does about alarms, with a reason.
import { useState } from "preact/hooks";
import { useAct } from "../../api/act";
import { post } from "../../api/http";
import type { Alarm, Result } from "../../api/types";
import { duration, moment } from "../../format";
import { text } from "../../text";
import { isCalling, nameOf } from "../../ui/alarm";
import { Dialog } from "../../ui/dialog";
import { Trouble } from "../../ui/messages";
import { Outcomes } from "./outcomes";

export type Action = keyof typeof text.alarms.actions;
const LENGTHS_S = [900, 3_600, 4 * 3_600, 8 * 3_600, 86_400, 3 * 86_400, 7 * 86_400];
const USUAL_S = 3_600;
const LONGEST_REASON = 500;
const AT_ONCE = 200; // as the API takes them
const NAMED = 5;

/** What can be asked for in its state, the likeliest first. */
export function possible(alarm: Alarm): Action[] {
  if (alarm.state === "shelved") return ["unshelve", "comment"];
  if (alarm.state === "suppressed") return alarm.suppressed ? ["unsuppress", "comment"] : ["comment"];
  if (alarm.state === "out-of-service") return ["in-service", "comment"];
  const first: Action[] = isCalling(alarm) ? ["acknowledge"] : alarm.state === "latched" ? ["reset"] : [];
  return [...first, "shelve", "comment", "out-of-service"];
}

/** Buttons for one alarm. */
export function Do({ alarm, actions, done }: { alarm: Alarm; actions: readonly Action[]; done: () => void }) {
  const [asked, setAsked] = useState<Action>();
  return (
    <span class="buttons">
      {actions.map((action) => (
        <button key={action} onClick={() => setAsked(action)}>
          {text.alarms.actions[action]}
        </button>
      ))}
      {asked && <Ask alarms={[alarm]} action={asked} close={() => setAsked(undefined)} done={done} />}
    </span>
  );
}

interface Props {
  alarms: readonly Alarm[];
  action: Action;
  close: () => void;
  done: () => void;
}

/** Asks for a reason, does it, and says of each alarm what came of it, unless all is done. */
export function Ask({ alarms, action, close, done }: Props) {
  const act = useAct();
  const [reason, setReason] = useState("");
  const [seconds, setSeconds] = useState(USUAL_S);
  const [results, setResults] = useState<Result[]>();
  const ask = async () => {
    const found: Result[] = [];
    const isDone = await act.run(async () => {
      for (let at = 0; at < alarms.length; at += AT_ONCE) {
        const ids = alarms.slice(at, at + AT_ONCE).map((one) => one.id);
        const body = action === "shelve" ? { ids, reason, seconds } : { ids, reason };
        found.push(...(await post(`alarms/${action}`, body)).items);
      }
    });
    done();
    if (isDone && found.every((one) => one.ok && one.recorded)) close();
    else if (found.length) setResults(found);
  };
  return (
    <Dialog title={text.alarms.actions[action]} close={close}>
      {results ? (
        <>
          {act.problem && <Trouble problem={act.problem} />}
          <Outcomes alarms={alarms} results={results} />
          <p class="bar">
            <button class="primary" autofocus onClick={close}>
              {text.common.close}
            </button>
          </p>
        </>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void ask();
          }}
        >
          <Named alarms={alarms} />
          {action === "shelve" && <Length of={seconds} set={setSeconds} />}
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
      )}
    </Dialog>
  );
}

function Named({ alarms }: { alarms: readonly Alarm[] }) {
  return (
    <ul class="plain">
      {alarms.slice(0, NAMED).map((one) => (
        <li key={one.id}>
          {nameOf(one)}: {one.text}
        </li>
      ))}
      {alarms.length > NAMED && <li>{text.alarms.others(alarms.length - NAMED)}</li>}
    </ul>
  );
}

function Length({ of, set }: { of: number; set: (seconds: number) => void }) {
  return (
    <label class="field">
      <span>{text.alarms.shelveFor}</span>
      <select value={of} onChange={(event) => set(Number(event.currentTarget.value))}>
        {LENGTHS_S.map((one) => (
          <option key={one} value={one}>
            {duration(one)}
          </option>
        ))}
      </select>
      <span>{text.alarms.ends(moment(Date.now() + of * 1_000))}</span>
    </label>
  );
}
