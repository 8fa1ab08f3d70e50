import { useEffect, useRef } from "preact/hooks";
import { useAct } from "../api/act";
import type { ProblemError } from "../api/http";
import { logIn, ways } from "../api/session";
import { here, query } from "../router";
import { text } from "../text";
import { Notice, said } from "../ui/messages";
import { Preferences } from "../ui/shell";

export function Login() {
  const { busy, problem, run } = useAct();
  const failed = text.login.failed[query.value.get("login") ?? ""];
  const name = useRef<HTMLInputElement>(null);
  useEffect(() => {
    document.title = `${text.login.title} · Nexus Edge`;
    name.current?.focus();
  }, []);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    void run(() => logIn(String(form.get("name")), String(form.get("password"))));
  };

  return (
    <main class="alone">
      <form class="card login" onSubmit={submit}>
        <h1>
          <img src="/icon.svg" alt="" width="28" height="28" /> Nexus Edge
        </h1>
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
    </main>
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
