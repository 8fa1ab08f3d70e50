// Device files: shown, checked with the errors at their lines, compared, applied, and put back.
import { useState } from "preact/hooks";
import { useAct } from "../api/act";
import { useAsk } from "../api/ask";
import { post } from "../api/http";
import { isEngineer, mayChange } from "../api/person";
import type { Checked, GatewayFiles } from "../api/types";
import { go, query, to } from "../router";
import { text } from "../text";
import { Empty, Notice, Status, Trouble } from "../ui/messages";
import { draft, draftsOf, keep } from "./files/drafts";
import { Diff, Editor, Problems } from "./files/editor";
import { DeleteFile, EXAMPLE, NewFile } from "./files/manage";
import { Versions } from "./files/versions";

export default function Files() {
  if (!isEngineer.value) {
    return (
      <>
        <h1>{text.nav.files}</h1>
        <Notice kind="info">{text.common.needs(text.role.engineer)}</Notice>
      </>
    );
  }
  return <Gateways />;
}

function Gateways() {
  const answer = useAsk("files");
  const gateways = answer.data?.gateways ?? [];
  const name = query.value.get("gateway") ?? "";
  const gateway = gateways.find((one) => `${one.group}/${one.member}` === name) ?? gateways[0];
  const file = query.value.get("file") ?? gateway?.files[0] ?? "";
  const names = gateway ? [...new Set([...gateway.files, ...draftsOf(keyOf(gateway, ""))])].toSorted() : [];
  const [said, setSaid] = useState<string>();
  const begin = (of: GatewayFiles, made: string) => {
    keep(keyOf(of, made), { text: EXAMPLE, digest: of.digest });
    show({ file: made });
  };
  const show = (next: { gateway?: string; file?: string }) => go(to("/files", { gateway: name, file, ...next }));
  return (
    <>
      <div class="bar">
        <h1>{text.nav.files}</h1>
        {gateways.length > 1 && (
          <select
            aria-label={text.plant.head.gateway}
            value={gateway && `${gateway.group}/${gateway.member}`}
            onChange={(event) => go(to("/files", { gateway: event.currentTarget.value }))}
          >
            {gateways.map((one) => (
              <option key={`${one.group}/${one.member}`}>{`${one.group}/${one.member}`}</option>
            ))}
          </select>
        )}
        {gateway && (
          <span class="group wrap">
            {names.map((one) => (
              <button key={one} aria-pressed={one === file} onClick={() => show({ file: one })}>
                {one} {draft(keyOf(gateway, one)) && <span title={text.files.changed}>•</span>}
              </button>
            ))}
          </span>
        )}
        {gateway?.writable && mayChange.value && <NewFile gateway={gateway} begin={(made) => begin(gateway, made)} />}
      </div>
      <Status of={answer} />
      {said && <Notice kind="ok">{said}</Notice>}
      {answer.data && !gateways.length && <Empty title={text.files.empty} detail={text.files.emptyDetail} />}
      {gateway && !gateway.writable && (
        <Notice kind="info">
          {text.files.readOnly} {gateway.reason}
        </Notice>
      )}
      {gateway && file && (
        <One
          key={keyOf(gateway, file)}
          gateway={gateway}
          file={file}
          changed={answer.again}
          deleted={(isRecorded) => {
            setSaid(isRecorded ? text.files.deleted(file) : `${text.files.deleted(file)} ${text.common.unrecorded}`);
            answer.again();
            go(to("/files", { gateway: name }));
          }}
        />
      )}
    </>
  );
}

const keyOf = (gateway: GatewayFiles, file: string) => `${gateway.group}/${gateway.member}/${file}`;

interface OneProps {
  gateway: GatewayFiles;
  file: string;
  /** Files have come or gone. */
  changed: () => void;
  deleted: (isRecorded: boolean) => void;
}

function One({ gateway, file, changed: listChanged, deleted }: OneProps) {
  const where = { group: gateway.group, member: gateway.member };
  const isNew = !gateway.files.includes(file);
  const content = useAsk(isNew ? null : "files/content", { ...where, file });
  const [edited, setEdited] = useState(draft(keyOf(gateway, file)));
  const [checked, setChecked] = useState<Checked>();
  const [diff, setDiff] = useState<string>();
  const [done, setDone] = useState<string>();
  const [round, setRound] = useState(0);
  const act = useAct();
  const original = isNew ? "" : content.data?.text;
  const digest = isNew ? gateway.digest : content.data?.digest;
  const shown = edited?.text ?? original ?? "";
  const changed = edited !== undefined && edited.text !== original;
  const body = { ...where, files: { [file]: shown } };
  const forget = () => {
    setChecked(undefined);
    setDiff(undefined);
    setDone(undefined);
  };

  const edit = (next: string | undefined) => {
    const made = next === undefined || next === original ? undefined : { text: next, digest: edited?.digest ?? digest ?? "" };
    keep(keyOf(gateway, file), made);
    setEdited(made);
  };

  const check = () => {
    forget();
    return act.run(async () => setChecked(await post("files/check", body)));
  };
  const compare = () => {
    forget();
    return act.run(async () => {
      const found = await post("files/diff", body);
      setDiff(found.diff ?? "");
      if (found.problems.length) setChecked(found);
    });
  };
  const taken = (said: string, isRecorded: boolean) => {
    setDone(isRecorded ? said : `${said} ${text.common.unrecorded}`);
    edit(undefined);
    setRound(round + 1);
    content.again();
    listChanged();
  };
  const apply = () => {
    forget();
    return act.run(async () => {
      const found = await post("files/apply", { ...body, digest: edited?.digest ?? digest ?? "" });
      if (found.ok) taken(text.files.applied, found.recorded);
      else setChecked(found);
    });
  };
  const problems = (checked?.problems ?? []).filter((one) => one.file === file);
  return (
    <>
      {!isNew && <Status of={content} />}
      {original !== undefined && (
        <>
          <Editor
            label={file}
            value={shown}
            problems={problems}
            readOnly={!mayChange.value}
            change={(next) => {
              edit(next);
              setDone(undefined);
            }}
          />
          <div class="bar">
            <button disabled={act.busy} onClick={() => void check()}>
              {text.files.check}
            </button>
            <button disabled={act.busy || !changed} onClick={() => void compare()}>
              {text.files.diff}
            </button>
            {mayChange.value && gateway.writable && (
              <button class="primary" disabled={act.busy || !changed} onClick={() => void apply()}>
                {text.files.apply}
              </button>
            )}
            {changed && (
              <button
                onClick={() => {
                  edit(undefined);
                  forget();
                }}
              >
                {text.files.undo}
              </button>
            )}
            {changed && <span class="dim">{isNew ? text.files.isNew : text.files.changed}</span>}
            {!isNew && gateway.files.length > 1 && mayChange.value && gateway.writable && digest !== undefined && (
              <DeleteFile
                gateway={gateway}
                file={file}
                digest={digest}
                deleted={(isRecorded) => {
                  edit(undefined);
                  deleted(isRecorded);
                }}
              />
            )}
          </div>
          {act.problem && <Trouble problem={act.problem} />}
          {done && <Notice kind="ok">{done}</Notice>}
          {checked && <Problems ok={checked.ok} of={checked.problems} />}
          {diff !== undefined && <Diff of={diff} />}
        </>
      )}
      <Versions key={round} gateway={gateway} rolledBack={(isRecorded) => taken(text.files.rolledBack, isRecorded)} />
    </>
  );
}
