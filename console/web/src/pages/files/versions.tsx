// What the files were before, and back to it.
import { useState } from "preact/hooks";
import { useAct } from "../../api/act";
import { useAsk } from "../../api/ask";
import { post, ProblemError } from "../../api/http";
import { mayChange } from "../../api/person";
import type { FileVersion, GatewayFiles } from "../../api/types";
import { moment } from "../../format";
import { text } from "../../text";
import { Dialog } from "../../ui/dialog";
import { Status, Trouble } from "../../ui/messages";
import { faults } from "./editor";

export function Versions({ gateway, rolledBack }: { gateway: GatewayFiles; rolledBack: (isRecorded: boolean) => void }) {
  const where = { group: gateway.group, member: gateway.member };
  const answer = useAsk("files/history", where);
  const [chosen, setChosen] = useState<FileVersion>();
  const act = useAct();
  const back = async () => {
    let isRecorded = true;
    const ok = await act.run(async () => {
      const done = await post("files/rollback", { ...where, id: chosen!.id });
      isRecorded = done.recorded;
      if (!done.ok) throw new ProblemError(409, text.files.notRolledBack, faults(done.problems));
    });
    setChosen(undefined);
    if (ok) rolledBack(isRecorded);
  };
  const items = answer.data?.items ?? [];
  return (
    <section aria-labelledby="versions">
      <h2 id="versions">{text.files.versions}</h2>
      <Status of={answer} />
      {act.problem && <Trouble problem={act.problem} />}
      {answer.data && !items.length && <p class="dim">{text.files.noVersions}</p>}
      {items.length > 0 && (
        <div class="scroll" tabIndex={0}>
          <table class="rows">
            <thead>
              <tr>
                <th>{text.files.head.until}</th>
                <th>{text.files.head.by}</th>
                <th>{text.files.head.files}</th>
                <td />
              </tr>
            </thead>
            <tbody>
              {items.map((one) => (
                <tr key={one.id}>
                  <td class="num-left nowrap">{moment(one.time)}</td>
                  <td>{one.person ?? "–"}</td>
                  <td>{one.files.join(", ")}</td>
                  <td class="actions">
                    {mayChange.value && gateway.writable && (
                      <button disabled={act.busy} onClick={() => setChosen(one)}>
                        {text.files.rollback}
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {chosen && (
        <Dialog title={text.files.sure(moment(chosen.time))} close={() => setChosen(undefined)}>
          <p class="bar">
            <button class="primary" disabled={act.busy} onClick={() => void back()}>
              {text.files.rollback}
            </button>
            <button onClick={() => setChosen(undefined)}>{text.common.cancel}</button>
          </p>
        </Dialog>
      )}
    </section>
  );
}
