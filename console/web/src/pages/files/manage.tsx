// Files that are to be there, and those that are not to be there any more.
import { useState } from "preact/hooks";
import { useAct } from "../../api/act";
import { post, ProblemError } from "../../api/http";
import type { GatewayFiles } from "../../api/types";
import { text } from "../../text";
import { Dialog } from "../../ui/dialog";
import { entered } from "../../ui/entered";
import { Trouble } from "../../ui/messages";
import { faults } from "./editor";

/** What a new file begins with: an example to change. */
export const EXAMPLE = `devices:
  - name: plc001
    path: plant/line1/plc001
    protocol: modbus-tcp
    host: 192.168.1.10
    tags:
      - {name: temperature, address: "holding:40001:float32", unit: "°C"}
`;

/** Asks for the name of a file; it is there once it is applied. */
export function NewFile({ gateway, begin }: { gateway: GatewayFiles; begin: (file: string) => void }) {
  const [open, setOpen] = useState(false);
  const [taken, setTaken] = useState(false);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const name = entered(new FormData(event.currentTarget as HTMLFormElement), "name");
    if (gateway.files.includes(name)) return setTaken(true);
    setOpen(false);
    begin(name);
  };
  return (
    <>
      <button onClick={() => setOpen(true)}>{text.files.new}</button>
      {open && (
        <Dialog title={text.files.new} close={() => setOpen(false)}>
          <form onSubmit={submit}>
            <label class="field">
              <span>{text.files.newName}</span>
              <input name="name" required autofocus pattern="[A-Za-z0-9_\-]+\.ya?ml" title={text.files.newName} onInput={() => setTaken(false)} />
            </label>
            {taken && <p class="state bad">{text.files.taken}</p>}
            <p class="bar">
              <button class="primary">{text.files.begin}</button>
              <button type="button" onClick={() => setOpen(false)}>
                {text.common.cancel}
              </button>
            </p>
          </form>
        </Dialog>
      )}
    </>
  );
}

interface DeleteProps {
  gateway: GatewayFiles;
  file: string;
  digest: string;
  deleted: (isRecorded: boolean) => void;
}

export function DeleteFile({ gateway, file, digest, deleted }: DeleteProps) {
  const [open, setOpen] = useState(false);
  const act = useAct();
  const remove = async () => {
    let isRecorded = true;
    const ok = await act.run(async () => {
      const { group, member } = gateway;
      const done = await post("files/apply", { group, member, files: { [file]: null }, digest });
      isRecorded = done.recorded;
      if (!done.ok) throw new ProblemError(409, text.files.notDeleted, faults(done.problems));
    });
    if (ok) deleted(isRecorded);
  };
  return (
    <>
      <button class="end" onClick={() => setOpen(true)}>
        {text.files.delete}
      </button>
      {open && (
        <Dialog title={text.files.sureDelete(file)} close={() => setOpen(false)}>
          <p>{text.files.aboutDelete}</p>
          {act.problem && <Trouble problem={act.problem} />}
          <p class="bar">
            <button class="danger" disabled={act.busy} onClick={() => void remove()}>
              {text.files.delete}
            </button>
            <button onClick={() => setOpen(false)}>{text.common.cancel}</button>
          </p>
        </Dialog>
      )}
    </>
  );
}
