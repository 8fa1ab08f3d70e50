// A text with line numbers, and what is wrong beside its lines.
import { useEffect, useRef } from "preact/hooks";
import type { FileProblem } from "../../api/types";
import { text } from "../../text";
import { Icon } from "../../ui/icon";
import { Notice } from "../../ui/messages";

const INDENT = "  ";

interface Props {
  label: string;
  value: string;
  problems: readonly FileProblem[];
  readOnly: boolean;
  change: (value: string) => void;
}

export function Editor({ label, value, problems, readOnly, change }: Props) {
  const area = useRef<HTMLTextAreaElement>(null);
  const gutter = useRef<HTMLDivElement>(null);
  const count = value.split("\n").length;
  const levels = new Map(problems.map((one) => [one.line, one.level]));
  const said = (line: number) => problems.filter((one) => one.line === line).map((one) => one.message).join("\n");
  const first = problems.find((one) => one.line !== null)?.line;

  useEffect(() => {
    if (first && area.current) area.current.scrollTop = Math.max(0, first - 5) * lineHeight(area.current);
  }, [problems]);
  const key = (event: KeyboardEvent & { currentTarget: HTMLTextAreaElement }) => {
    // Tab indents; Escape, then Tab, leaves.
    if (event.key === "Escape") return event.currentTarget.setAttribute("data-leave", "");
    if (event.key !== "Tab" || event.shiftKey || readOnly || event.currentTarget.hasAttribute("data-leave")) return;
    event.preventDefault();
    event.currentTarget.setRangeText(INDENT, event.currentTarget.selectionStart, event.currentTarget.selectionEnd, "end");
    change(event.currentTarget.value);
  };
  return (
    <div class="editor">
      <div class="gutter" ref={gutter} aria-hidden="true">
        {Array.from({ length: count }, (_, index) => (
          <div key={index} class={levels.get(index + 1) ?? ""} title={said(index + 1)}>
            {index + 1}
          </div>
        ))}
      </div>
      <textarea
        ref={area}
        aria-label={label}
        wrap="off"
        spellcheck={false}
        autocomplete="off"
        autocapitalize="none"
        readOnly={readOnly}
        value={value}
        aria-invalid={problems.some((one) => one.level === "error")}
        onInput={(event) => change(event.currentTarget.value)}
        onKeyDown={key}
        onBlur={(event) => event.currentTarget.removeAttribute("data-leave")}
        onScroll={(event) => gutter.current && (gutter.current.scrollTop = event.currentTarget.scrollTop)}
      />
    </div>
  );
}

const lineHeight = (of: Element) => parseFloat(getComputedStyle(of).lineHeight) || 20;

/** What is wrong as one text. */
export const faults = (of: readonly FileProblem[]) => of.map((one) => `${one.file}:${one.line ?? ""} ${one.message}`).join("; ");

export function Problems({ ok, of }: { ok: boolean; of: readonly FileProblem[] }) {
  return (
    <>
      {ok && <Notice kind="ok">{text.files.right}</Notice>}
      {of.length > 0 && (
        <ul class="problems">
          {of.map((one, index) => (
            <li key={index}>
              <span class={`state ${one.level === "error" ? "bad" : "warn"}`}>
                <Icon name={one.level === "error" ? "bad" : "warn"} />
                {one.file}
                {one.line !== null && `:${one.line}`}
              </span>{" "}
              {one.message}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

export function Diff({ of }: { of: string }) {
  if (!of) return <Notice kind="info">{text.files.same}</Notice>;
  const level = (line: string) =>
    /^(\+\+\+|---|@@)/.test(line) ? "dim" : line.startsWith("+") ? "added" : line.startsWith("-") ? "removed" : "";
  return (
    <pre class="diff" tabIndex={0}>
      {of.split("\n").map((line, index) => (
        <div key={index} class={level(line)}>
          {line || " "}
        </div>
      ))}
    </pre>
  );
}
