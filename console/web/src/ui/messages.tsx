// What a page says when something is missing: never nothing.
import type { ComponentChildren } from "preact";
import type { Answer } from "../api/ask";
import { NO_ANSWER, PAGE_FAULT, type ProblemError } from "../api/http";
import { away, CLOSED } from "../api/live";
import { text } from "../text";
import { Icon } from "./icon";

interface Said {
  title: string;
  detail: string;
}

/** A problem in this language where it is one of ours, else as the console says it. */
export function said(problem: ProblemError): Said {
  if (problem.status === NO_ANSWER) return { title: text.problem.noAnswer, detail: text.problem.noAnswerDetail };
  if (problem.status === PAGE_FAULT) return { title: text.problem.pageFault, detail: problem.detail };
  if (problem.kind === "no-route") return { title: text.problem.notThere, detail: text.problem.notThereDetail };
  if (problem.kind in text.problem.kinds) {
    const { title, detail } = text.problem.kinds[problem.kind as keyof typeof text.problem.kinds];
    return { title, detail: typeof detail === "string" ? detail : detail(Number(problem.more.seconds)) };
  }
  return { title: problem.title || String(problem.status), detail: sentence(reason(problem.detail)) };
}

/** Why a gateway refuses something, in this language where that is known. */
export const reason = (of: string) => text.problem.reasons[of] ?? of;

const sentence = (of: string) => of.charAt(0).toUpperCase() + of.slice(1);

export function Trouble({ problem, again }: { problem: ProblemError; again?: () => void }) {
  const { title, detail } = said(problem);
  return (
    <Notice kind="warn">
      <strong>{title}.</strong> {detail}
      {again && <button onClick={again}>{text.common.again}</button>}
    </Notice>
  );
}

export function Notice({ kind, children }: { kind: "info" | "warn" | "bad" | "ok"; children: ComponentChildren }) {
  return (
    <div class={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      <Icon name={kind === "ok" ? "ok" : kind === "info" ? "info" : "warn"} />
      <div>{children}</div>
    </div>
  );
}

export function Empty(props: { title: string; detail?: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="empty-title">{props.title}</p>
      {props.detail && <p>{props.detail}</p>}
      {props.action && <p>{props.action}</p>}
    </div>
  );
}

/** What is to be said about an answer besides its data: that it is coming, or what failed. */
export function Status({ of }: { of: Answer<unknown> }) {
  if (of.problem) return <Trouble problem={of.problem} again={of.again} />;
  if (!of.data && of.asking) return <p class="loading">{text.common.loading}</p>;
  return null;
}

/** That live values do not come, and why. */
export function LiveAway() {
  const why = away.value;
  if (why === null) return null;
  return (
    <Notice kind="warn">
      {text.problem.live} {why !== CLOSED && `(${why})`}
    </Notice>
  );
}

/** Parts of the plant that do not answer. */
export function Missing({ parts }: { parts: readonly string[] }) {
  const known: Record<string, string> = text.problem.missing as unknown as Record<string, string>;
  return (
    <>
      {parts.map((part) => (
        <Notice kind="warn" key={part}>
          {part !== "other" && part in known ? known[part] : text.problem.missing.other(part)}
        </Notice>
      ))}
    </>
  );
}
