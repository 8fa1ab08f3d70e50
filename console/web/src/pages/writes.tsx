// Writes a value to a device: what it is now, what it shall be, what it is then, and who did what.
import type { ComponentChildren } from "preact";
import { useMemo, useState } from "preact/hooks";
import { useAct } from "../api/act";
import { useAsk } from "../api/ask";
import { post, type ProblemError } from "../api/http";
import { useLast } from "../api/last";
import { reading, useLive } from "../api/live";
import { isOperator, mayWrite } from "../api/person";
import type { Tag, Value, Written } from "../api/types";
import { typed as valueOf, value } from "../format";
import { go, query, to, toDevice } from "../router";
import { text } from "../text";
import { deviceOf } from "../topic";
import { Dialog } from "../ui/dialog";
import { Empty, Notice, reason, Status, Trouble } from "../ui/messages";
import { Picker } from "../ui/picker";
import { Prose } from "../ui/prose";
import { Age, QualityOf } from "../ui/state";
import { AuditTable } from "./audit/table";
import { Fact } from "./plant/device";
import { parse } from "./writes/value";

export default function Writes() {
  const topic = query.value.get("topic") ?? "";
  return (
    <>
      <div class="bar">
        <h1>{text.writes.title}</h1>
        <Picker label={text.writes.choose} chosen={[]} isOffered={(tag) => tag.writable === true} pick={(chosen) => go(to("/writes", { topic: chosen }))} />
      </div>
      {!isOperator.value && <Notice kind="info">{text.common.needs(text.role.operator)}</Notice>}
      {topic ? <One key={topic} topic={topic} /> : <Empty title={text.writes.empty} detail={text.writes.emptyDetail} />}
    </>
  );
}

function One({ topic }: { topic: string }) {
  const topics = useMemo(() => [topic], [topic]);
  useLast(topics);
  useLive(topics);
  const device = deviceOf(topic);
  const tags = useAsk("tags", { device, limit: 5_000 });
  const tag = tags.data?.items.find((one) => one.topic === topic);
  const live = reading(topic).value;
  const [done, setDone] = useState<Written>();
  const [round, setRound] = useState(0);
  const unit = live?.unit ?? tag?.unit ?? "";
  return (
    <>
      <section class="card">
        <h2>{topic}</h2>
        <dl class="facts">
          <Fact name={text.tags.head.value}>
            <strong class="now num">
              {value(valueOf(live?.value, tag?.type))} {unit}
            </strong>
          </Fact>
          <Fact name={text.tags.head.quality}>
            <QualityOf of={live?.quality} />
          </Fact>
          <Fact name={text.tags.head.age}>
            <Age of={live?.time} />
          </Fact>
          <Fact name={text.tags.head.limits}>
            {tag && (tag.min !== null || tag.max !== null) ? `${value(tag.min)} … ${value(tag.max)}` : text.common.none}
          </Fact>
          <Fact name={text.tags.head.type}>{tag?.type ?? "–"}</Fact>
          <Fact name={text.tags.head.device}>
            <a href={toDevice(device)}>{device}</a>
          </Fact>
        </dl>
        <Status of={tags} />
        {tag?.writable === false && <Notice kind="info"><Prose of={text.writes.notWritable} /></Notice>}
        {tag?.writable !== false && mayWrite.value && (
          <Form
            topic={topic}
            tag={tag}
            unit={unit}
            tried={(written) => {
              setDone(written);
              setRound((n) => n + 1);
            }}
          />
        )}
        {done && <Outcome of={done} unit={unit} />}
        {done?.recorded === false && <Notice kind="warn">{text.common.unrecorded}</Notice>}
      </section>
      {isOperator.value && (
        <section aria-labelledby="history">
          <h2 id="history">{text.writes.history}</h2>
          <AuditTable key={round} asked={{ topic, event: "write", limit: 50 }} without={["topic"]} />
        </section>
      )}
    </>
  );
}

function Outcome({ of, unit }: { of: Written; unit: string }) {
  return of.ok ? (
    <Notice kind="ok">
      <strong>{text.writes.done}</strong> {text.writes.readBack}:{" "}
      <strong>
        {value(of.read_back)} {unit}
      </strong>{" "}
      ({text.writes.before}: {value(of.old)})
    </Notice>
  ) : (
    <Notice kind="bad">
      <strong>{text.writes.failed}</strong> {reason(of.error ?? "")}
    </Notice>
  );
}

interface FormProps {
  topic: string;
  tag: Tag | undefined;
  unit: string;
  /** Without an answer where that failed: it is in the audit nevertheless. */
  tried: (written?: Written) => void;
}

function Form({ topic, tag, unit, tried }: FormProps) {
  const [typed, setTyped] = useState("");
  const [asked, setAsked] = useState<Exclude<Value, null>>();
  const act = useAct();
  const seen = reading(topic).value;
  const present = valueOf(seen?.value, tag?.type);
  const boolean = typeof present === "boolean" || /^bool/i.test(tag?.type ?? "");
  const { wanted, fault } = parse(typed, tag, present);

  // Whoever writes to a value that moves is always late: then it is for the person to say so.
  const changed = act.problem !== undefined && "current" in act.problem.more;
  const write = async () => {
    if (asked === undefined) return;
    const expected = seen && !changed ? { value: present ?? null, time: new Date(seen.time).toISOString() } : null;
    const ok = await act.run(async () => tried(await post("write", { topic, value: asked, expected })));
    if (!ok) return tried();
    setAsked(undefined);
    setTyped("");
  };
  return (
    <form
      class="bar"
      onSubmit={(event) => {
        event.preventDefault();
        act.clear();
        if (wanted !== undefined) setAsked(wanted);
      }}
    >
      <label class="field">
        <span>{text.writes.value}</span>
        {boolean ? (
          <select value={typed} onChange={(event) => setTyped(event.currentTarget.value)}>
            <option value="" />
            <option value="true">{text.value.true}</option>
            <option value="false">{text.value.false}</option>
          </select>
        ) : (
          <input
            value={typed}
            inputMode="decimal"
            autocomplete="off"
            aria-invalid={fault !== null}
            aria-describedby="fault"
            onInput={(event) => setTyped(event.currentTarget.value)}
          />
        )}
      </label>
      <span class="align-end">{unit}</span>
      <button class="primary align-end" disabled={wanted === undefined || act.busy}>
        {text.writes.write}
      </button>
      <span id="fault" class="state bad align-end">
        {fault}
      </span>
      {act.problem && !changed && <Trouble problem={act.problem} />}
      {asked !== undefined && (changed || !act.problem) && (
        <Confirm
          change={
            <>
              {topic}
              <br />
              {value(present)} {unit} → <strong>{value(asked)} {unit}</strong>
            </>
          }
          changed={changed ? act.problem : undefined}
          busy={act.busy}
          write={() => void write()}
          close={() => {
            act.clear();
            setAsked(undefined);
          }}
        />
      )}
    </form>
  );
}

interface ConfirmProps {
  change: ComponentChildren;
  /** Nothing was written, because the value was another one by then. */
  changed: ProblemError | undefined;
  busy: boolean;
  write: () => void;
  close: () => void;
}

function Confirm({ change, changed, busy, write, close }: ConfirmProps) {
  return (
    <Dialog title={text.writes.confirm} close={close}>
      <p class="change num">{change}</p>
      {changed && <Trouble problem={changed} />}
      <p class="bar">
        {changed ? (
          <button key="anyway" type="button" class="danger" disabled={busy} onClick={write}>
            {text.writes.anyway}
          </button>
        ) : (
          <button key="write" type="button" class="primary" disabled={busy} autofocus onClick={write}>
            {text.writes.write}
          </button>
        )}
        <button type="button" onClick={close}>
          {text.common.cancel}
        </button>
      </p>
    </Dialog>
  );
}
