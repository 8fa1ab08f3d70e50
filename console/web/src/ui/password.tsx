// A person's own password.
import { useState } from "preact/hooks";
import { useAct } from "../api/act";
import { changePassword } from "../api/session";
import { text } from "../text";
import { Dialog } from "./dialog";
import { entered } from "./entered";
import { Notice, Trouble } from "./messages";

export function PasswordDialog({ close }: { close: () => void }) {
  const act = useAct();
  const [done, setDone] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setDone(await act.run(() => changePassword(entered(form, "old"), entered(form, "new"))));
  };
  return (
    <Dialog title={text.password.title} close={close}>
      <form onSubmit={(event) => void submit(event)}>
        <label class="field">
          <span>{text.password.old}</span>
          <input name="old" type="password" required autocomplete="current-password" />
        </label>
        <label class="field">
          <span>{text.password.new}</span>
          <input name="new" type="password" required autocomplete="new-password" />
        </label>
        {act.problem && <Trouble problem={act.problem} />}
        {done && <Notice kind="ok">{text.password.done}</Notice>}
        <p class="bar">
          <button class="primary" disabled={act.busy}>
            {text.common.save}
          </button>
          <button type="button" onClick={close}>
            {text.common.close}
          </button>
        </p>
      </form>
    </Dialog>
  );
}
