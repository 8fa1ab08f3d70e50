import { useState } from "preact/hooks";
import { text } from "../text";
import { Icon } from "./icon";
import { copy, type Cell } from "./save";

/** A button that copies, and says that it did. */
export function CopyButton({ label, rows }: { label: string; rows: () => readonly (readonly Cell[])[] }) {
  const [done, setDone] = useState(false);
  const press = async () => {
    setDone(await copy(rows()));
    setTimeout(() => setDone(false), 1_500);
  };
  return (
    <button onClick={() => void press()} aria-live="polite">
      <Icon name={done ? "ok" : "copy"} /> {done ? text.common.copied : label}
    </button>
  );
}
