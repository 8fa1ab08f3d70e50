// What could not be stored, why, and once more.
import { useEffect, useState } from "preact/hooks";
import { useAct } from "../api/act";
import { post } from "../api/http";
import { usePages } from "../api/pages";
import { mayChange } from "../api/person";
import type { Sent } from "../api/routes";
import { bytes, count, moment } from "../format";
import { text } from "../text";
import { Empty, Notice, Status, Trouble } from "../ui/messages";

const AGAIN_MS = 2_000; // while some are tried again

export default function Rejects() {
  const [reason, setReason] = useState("");
  const [chosen, setChosen] = useState<ReadonlySet<number>>(new Set());
  const [asked, setAsked] = useState<number>();
  const [left, setLeft] = useState(0);
  const pages = usePages("rejects", { reason });
  const act = useAct();
  const { head } = text.rejects;
  const isWaiting = pages.items.some((one) => one.retry !== null);
  useEffect(() => {
    if (!isWaiting) return;
    const timer = setTimeout(pages.again, AGAIN_MS);
    return () => clearTimeout(timer);
  }, [isWaiting, pages.first]);
  const retry = (body: Sent<"post", "rejects/retry">) =>
    void act.run(async () => {
      const answer = await post("rejects/retry", body);
      setAsked(answer.asked);
      setLeft(answer.left);
      setChosen(new Set());
      pages.again();
    });
  const toggle = (id: number) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    setChosen(next);
  };
  return (
    <>
      <div class="bar">
        <h1>{text.nav.rejects}</h1>
        <label class="check">
          {head.reason}
          <select value={reason} onChange={(event) => setReason(event.currentTarget.value)}>
            <option value="">{text.common.all}</option>
            {(pages.first?.reasons ?? []).map((one) => (
              <option key={one.reason} value={one.reason}>
                {one.reason.slice(0, 80)} ({count(one.count)})
              </option>
            ))}
          </select>
        </label>
        <span class="end" />
        {mayChange.value && reason && (
          <button disabled={act.busy} onClick={() => retry({ reason })}>
            {text.rejects.retryReason}
          </button>
        )}
        {mayChange.value && (
          <button disabled={!chosen.size || act.busy} onClick={() => retry({ ids: [...chosen] })}>
            {text.rejects.retryChosen(chosen.size)}
          </button>
        )}
      </div>
      <p class="dim">{text.rejects.about}</p>
      {act.problem && <Trouble problem={act.problem} />}
      {asked !== undefined && !act.problem && <Notice kind="ok">{isWaiting ? text.rejects.asked(asked) : text.rejects.tried} {left > 0 && text.rejects.left(left)}</Notice>}
      <Status of={{ data: pages.first, problem: pages.problem, asking: pages.asking, again: pages.again }} />
      {pages.first && !pages.items.length && <Empty title={text.rejects.empty} detail={text.rejects.emptyDetail} />}
      {pages.items.length > 0 && (
        <div class="scroll" tabIndex={0}>
          <table class="rows stack">
            <thead>
              <tr>
                <th>
                  <span class="hidden-visually">{text.tags.chosen}</span>
                </th>
                <th>{head.time}</th>
                <th>{head.topic}</th>
                <th>{head.reason}</th>
                <th>{head.payload}</th>
                <th class="num">{head.size}</th>
              </tr>
            </thead>
            <tbody>
              {pages.items.map((one) => (
                <tr key={one.id}>
                  <td>
                    <input
                      type="checkbox"
                      checked={chosen.has(one.id)}
                      aria-label={text.tags.select(one.topic)}
                      onChange={() => toggle(one.id)}
                    />
                  </td>
                  <td class="num-left nowrap" data-label={head.time}>
                    {moment(one.time)}
                  </td>
                  <td data-label={head.topic}>
                    {one.topic}
                    {one.tags && <small> {one.tags.join(", ")}</small>}
                  </td>
                  <td data-label={head.reason}>
                    {one.reason}{" "}
                    {one.retry ? (
                      <small>({text.rejects.waiting})</small>
                    ) : (
                      one.tried && <small>({text.rejects.triedAt(moment(one.tried))})</small>
                    )}
                  </td>
                  <td data-label={head.payload}>
                    <details class="payload">
                      <summary>
                        <code>{one.payload.slice(0, 60)}</code>
                      </summary>
                      <pre>{one.payload}</pre>
                    </details>
                  </td>
                  <td class="num" data-label={head.size}>
                    {bytes(one.bytes)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {pages.more && (
        <p>
          <button onClick={pages.more}>{text.common.more}</button>
        </p>
      )}
    </>
  );
}
