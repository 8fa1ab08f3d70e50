import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useAct } from "../api/act";
import type { ProblemError } from "../api/http";
import { load, logIn, ways } from "../api/session";
import { here, query } from "../router";
import { text } from "../text";
import { entered } from "../ui/entered";
import { Notice, said } from "../ui/messages";
import { Preferences } from "../ui/shell";

/** Alone, while nobody is logged in. */
export function Login() {
  useEffect(() => void (document.title = `${text.login.title} · Nexus Edge`), []);
  return (
    <main class="alone">
      <LoginForm />
    </main>
  );
}

/** In front of a page whose session has ended: what was begun there stays. */
export function LoginAgain() {
  const box = useRef<HTMLDialogElement>(null);
  const show = () => box.current?.showModal();
  useEffect(() => {
    show();
    // Says how one can log in, or that there is another session already.
    void load().catch(() => undefined);
  }, []);
  // Escape closes a dialog, whatever the page says to it.
  return (
    <dialog ref={box} class="alone" aria-label={text.login.title} onClose={show}>
      <LoginForm note={<Notice kind="info">{text.login.expired}</Notice>} />
    </dialog>
  );
}

function LoginForm({ note }: { note?: ComponentChildren }) {
  const { busy, problem, run } = useAct();
  const failed = text.login.failed[query.value.get("login") ?? ""];
  const name = useRef<HTMLInputElement>(null);
  useEffect(() => name.current?.focus(), []);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    void run(() => logIn(entered(form, "name"), entered(form, "password")));
  };

  return (
    <form class="card login" onSubmit={submit}>
      <h1>
        <img src="/icon.svg" alt="" width="28" height="28" /> Nexus Edge
      </h1>
      {!problem && note}
      {failed && !problem && <Notice kind="bad">{failed}</Notice>}
      {problem && <Refused problem={problem} />}
      <label>
        {text.login.name}
        <input name="name" autocomplete="username" autocapitalize="none" spellcheck={false} required ref={name} />
      </label>
      <label>
        {text.login.password}
        <input name="password" type="password" autocomplete="current-password" required />
      </label>
      <button class="primary" disabled={busy}>
        {text.login.submit}
      </button>
      {ways.value.includes("oidc") && (
        <a class="button" href={`/api/v1/oidc/login?to=${encodeURIComponent(here.value.pathname + here.value.search)}`}>
          {text.login.sso}
        </a>
      )}
      <Preferences />
    </form>
  );
}

function Refused({ problem }: { problem: ProblemError }) {
  const { title, detail } = said(problem);
  return (
    <Notice kind="bad">
      <strong>{title}.</strong> {detail}
    </Notice>
  );
}
