// What people wrote about a time.
import { useState } from "preact/hooks";
import { useAct } from "../../api/act";
import { post } from "../../api/http";
import { isOperator } from "../../api/person";
import type { Annotation } from "../../api/types";
import { period } from "../../format";
import { text } from "../../text";
import { Trouble } from "../../ui/messages";
import { iso, type View } from "./view";

interface Props {
  view: View;
  items: readonly Annotation[];
  written: () => void;
}

export function Annotations({ view, items, written }: Props) {
  return (
    <section aria-labelledby="annotations">
      <h2 id="annotations">{text.trend.annotations}</h2>
      {!items.length && <p class="dim">{text.trend.noAnnotations}</p>}
      {items.length > 0 && (
        <ol class="annotations">
          {items.map((one) => (
            <li key={one.id}>
              <span class="num dim">{period(one.from, one.to)}</span>{" "}
              {one.text} <span class="dim">{[one.person, one.device ?? one.topic].filter(Boolean).join(", ")}</span>
            </li>
          ))}
        </ol>
      )}
      {isOperator.value && <Write view={view} written={written} />}
    </section>
  );
}

function Write({ view, written }: Omit<Props, "items">) {
  const { problem, run } = useAct();
  const [said, setSaid] = useState("");
  const [topic, setTopic] = useState("");
  const about = view.topics.includes(topic) ? topic : (view.topics[0] ?? "");
  const submit = async (event: Event) => {
    event.preventDefault();
    const body = { topic: about, from: iso(view.from), to: iso(view.to), text: said };
    if (!(await run(() => post("annotations", body)))) return;
    setSaid("");
    written();
  };
  return (
    <form class="bar" onSubmit={(event) => void submit(event)}>
      <select aria-label={text.trend.head.topic} value={about} onChange={(event) => setTopic(event.currentTarget.value)}>
        {view.topics.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </select>
      <input
        class="grow"
        required
        maxLength={2000}
        value={said}
        aria-label={text.trend.annotation}
        placeholder={text.trend.annotateHint(period(view.from, view.to))}
        onInput={(event) => setSaid(event.currentTarget.value)}
      />
      <button>{text.trend.annotate}</button>
      {problem && <Trouble problem={problem} />}
    </form>
  );
}
