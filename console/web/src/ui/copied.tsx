import { useState } from "preact/hooks";
import { text } from "../text";
import { Icon } from "./icon";
import { copy, type Cell } from "./save";

const SAID_MS = 1_500;

/** A button that copies, and says whether it did. */
export function CopyButton({ label, rows }: { label: string; rows: () => readonly (readonly Cell[])[] }) {
  const [done, setDone] = useState<boolean>();
  const press = async () => {
    setDone(await copy(rows()));
    setTimeout(() => setDone(undefined), SAID_MS);
  };
  return (
    <button onClick={() => void press()} aria-live="polite">
      <Icon name={done === undefined ? "copy" : done ? "ok" : "bad"} />{" "}
      {done === undefined ? label : done ? text.common.copied : text.common.notCopied}
    </button>
  );
}
