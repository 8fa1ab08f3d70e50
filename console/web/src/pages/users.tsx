// Who may log in, and the keys of programs.
import { useState } from "preact/hooks";
import { useAct } from "../api/act";
import { useAsk } from "../api/ask";
import { patch, post, remove } from "../api/http";
import { isEngineer, mayChange, session } from "../api/person";
import type { Key, Role, User } from "../api/types";
import { moment } from "../format";
import { text } from "../text";
import { CopyButton } from "../ui/copied";
import { Dialog } from "../ui/dialog";
import { entered } from "../ui/entered";
import { Notice, Status, Trouble } from "../ui/messages";
import { Prose } from "../ui/prose";

const ROLES: readonly Role[] = ["viewer", "operator", "engineer"];

export default function Users() {
  if (!isEngineer.value) {
    return (
      <>
        <h1>{text.nav.users}</h1>
        <Notice kind="info">{text.common.needs(text.role.engineer)}</Notice>
      </>
    );
  }
  return (
    <>
      <h1>{text.nav.users}</h1>
      <UserTable />
      <KeyTable />
    </>
  );
}

function UserTable() {
  const answer = useAsk("users");
  const act = useAct();
  const [making, setMaking] = useState<"new" | User>();
  const [removing, setRemoving] = useState<User>();
  const { head } = text.users;
  const changed = () => {
    setMaking(undefined);
    setRemoving(undefined);
    answer.again();
  };
  return (
    <section aria-labelledby="users">
      <div class="bar">
        <h2 id="users">{text.users.users}</h2>
        {mayChange.value && <button onClick={() => setMaking("new")}>{text.users.addUser}</button>}
      </div>
      <Status of={answer} />
      {act.problem && <Trouble problem={act.problem} />}
      {answer.data && !answer.data.items.length && (
        <p class="dim">
          <Prose of={text.users.noUsers} />
        </p>
      )}
      {answer.data && answer.data.items.length > 0 && (
        <div class="scroll" tabIndex={0}>
          <table class="rows">
            <thead>
              <tr>
                <th>{head.name}</th>
                <th>{head.role}</th>
                <th class="wide">{head.created}</th>
                <th class="wide">{head.changed}</th>
                <td />
              </tr>
            </thead>
            <tbody>
              {answer.data.items.map((one) => (
                <tr key={one.name}>
                  <th scope="row">{one.name}</th>
                  <td>{text.role[one.role]}</td>
                  <td class="num-left wide">{moment(one.created)}</td>
                  <td class="num-left wide">{moment(one.changed)}</td>
                  <td class="actions">
                    {mayChange.value && (
                      <>
                        <button onClick={() => setMaking(one)}>
                          {text.users.change}
                        </button>
                        {one.name !== session.value?.name && (
                          <button onClick={() => setRemoving(one)}>
                            {text.common.delete}
                          </button>
                        )}
                      </>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {making && <UserForm of={making === "new" ? undefined : making} close={() => setMaking(undefined)} done={changed} />}
      {removing && (
        <Sure
          title={text.users.sureUser(removing.name)}
          does={text.common.delete}
          close={() => setRemoving(undefined)}
          act={() => void act.run(() => remove(`users/${encodeURIComponent(removing.name)}`)).then(changed)}
        />
      )}
    </section>
  );
}

function UserForm({ of, close, done }: { of: User | undefined; close: () => void; done: () => void }) {
  const act = useAct();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const [name, password] = [entered(form, "name"), entered(form, "password")];
    const role = roleOf(form);
    if (role === of?.role && !password) return close();
    const change = { ...(role === of?.role ? {} : { role }), ...(password ? { password } : {}) };
    const ok = await act.run(() =>
      of ? patch(`users/${encodeURIComponent(of.name)}`, change) : post("users", { name, role, password }),
    );
    if (ok) done();
  };
  return (
    <Dialog title={of ? text.users.changeUser(of.name) : text.users.addUser} close={close}>
      <form onSubmit={(event) => void submit(event)}>
        {!of && (
          <label class="field">
            <span>{text.users.head.name}</span>
            <input name="name" required autocomplete="off" autocapitalize="none" spellcheck={false} />
          </label>
        )}
        <RoleField role={of?.role ?? "viewer"} />
        <label class="field">
          <span>{of ? text.users.newPassword : text.login.password}</span>
          <input name="password" type="password" required={!of} autocomplete="new-password" />
        </label>
        {act.problem && <Trouble problem={act.problem} />}
        <Buttons busy={act.busy} close={close} />
      </form>
    </Dialog>
  );
}

function KeyTable() {
  const answer = useAsk("keys");
  const act = useAct();
  const [making, setMaking] = useState(false);
  const [made, setMade] = useState<string>();
  const [removing, setRemoving] = useState<Key>();
  const { head } = text.users;
  return (
    <section aria-labelledby="keys">
      <div class="bar">
        <h2 id="keys">{text.users.keys}</h2>
        {mayChange.value && <button onClick={() => setMaking(true)}>{text.users.addKey}</button>}
      </div>
      <p class="dim"><Prose of={text.users.aboutKeys} /></p>
      {made && (
        <Notice kind="info">
          {text.users.keyOnce} <code>{made}</code> <CopyButton label={text.common.copy} rows={() => [[made]]} />
        </Notice>
      )}
      <Status of={answer} />
      {act.problem && <Trouble problem={act.problem} />}
      {answer.data && answer.data.items.length > 0 && (
        <div class="scroll" tabIndex={0}>
          <table class="rows">
            <thead>
              <tr>
                <th>{head.name}</th>
                <th>{head.role}</th>
                <th class="wide">{head.created}</th>
                <th>{head.expires}</th>
                <th>{head.used}</th>
                <td />
              </tr>
            </thead>
            <tbody>
              {answer.data.items.map((one) => (
                <tr key={one.id}>
                  <th scope="row">{one.name}</th>
                  <td>{text.role[one.role]}</td>
                  <td class="num-left wide">
                    {moment(one.created)} <small>{one.created_by}</small>
                  </td>
                  <td class="num-left">
                    {one.expires && Date.parse(one.expires) < Date.now() ? (
                      <span class="state warn">{moment(one.expires)}</span>
                    ) : (
                      one.expires ? moment(one.expires) : text.users.never
                    )}
                  </td>
                  <td class="num-left">{one.last_used ? moment(one.last_used) : text.users.never}</td>
                  <td class="actions">
                    {mayChange.value && (
                      <button onClick={() => setRemoving(one)}>
                        {text.users.revoke}
                      </button>
                    )}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {making && (
        <KeyForm
          close={() => setMaking(false)}
          done={(key) => {
            setMade(key);
            setMaking(false);
            answer.again();
          }}
        />
      )}
      {removing && (
        <Sure
          title={text.users.sureKey(removing.name)}
          does={text.users.revoke}
          close={() => setRemoving(undefined)}
          act={() =>
            void act.run(() => remove(`keys/${encodeURIComponent(removing.id)}`)).then(() => {
              setRemoving(undefined);
              answer.again();
            })
          }
        />
      )}
    </section>
  );
}

function KeyForm({ close, done }: { close: () => void; done: (key: string) => void }) {
  const act = useAct();
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const day = entered(form, "expires");
    const expires = day ? new Date(`${day}T23:59:59`).toISOString() : null;
    const body = { name: entered(form, "name"), role: roleOf(form), expires };
    await act.run(async () => done((await post("keys", body)).key));
  };
  return (
    <Dialog title={text.users.addKey} close={close}>
      <form onSubmit={(event) => void submit(event)}>
        <label class="field">
          <span>{text.users.head.name}</span>
          <input name="name" required autocomplete="off" />
        </label>
        <RoleField role="viewer" />
        <label class="field">
          <span>{text.users.expiresHint}</span>
          <input name="expires" type="date" />
        </label>
        {act.problem && <Trouble problem={act.problem} />}
        <Buttons busy={act.busy} close={close} />
      </form>
    </Dialog>
  );
}

const roleOf = (form: FormData): Role => ROLES.find((one) => one === form.get("role")) ?? "viewer";

function RoleField({ role }: { role: Role }) {
  return (
    <label class="field">
      <span>{text.users.head.role}</span>
      <select name="role">
        {ROLES.map((one) => (
          <option key={one} value={one} selected={one === role}>
            {text.role[one]}: {text.users.may[one]}
          </option>
        ))}
      </select>
    </label>
  );
}

function Buttons({ busy, close }: { busy: boolean; close: () => void }) {
  return (
    <p class="bar">
      <button class="primary" disabled={busy}>
        {text.common.save}
      </button>
      <button type="button" onClick={close}>
        {text.common.cancel}
      </button>
    </p>
  );
}

function Sure({ title, does, close, act }: { title: string; does: string; close: () => void; act: () => void }) {
  return (
    <Dialog title={title} close={close}>
      <p class="bar">
        <button class="danger" onClick={act}>
          {does}
        </button>
        <button onClick={close}>{text.common.cancel}</button>
      </p>
    </Dialog>
  );
}
