// Finds a tag to add, by typing parts of its name.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { asProblem, get } from "../api/http";
import type { Tag } from "../api/types";
import { text } from "../text";
import { brief } from "../topic";
import { said } from "./messages";

const TYPING_MS = 120;
const SHOWN = 12;
const LOOKED_THROUGH = 5_000; // to find some that are offered

interface Props {
  label: string;
  /** Not shown again. */
  chosen: readonly string[];
  /** Which tags can be picked; all without it. */
  isOffered?: (tag: Tag) => boolean;
  pick: (topic: string) => void;
}

export function Picker({ label, chosen, isOffered, pick }: Props) {
  const [typed, setTyped] = useState("");
  const [open, setOpen] = useState(false);
  const [found, setFound] = useState<Tag[]>([]);
  const [at, setAt] = useState(0);
  const [hint, setHint] = useState("");
  const id = useId();
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    if (!open) return;
    const stop = new AbortController();
    const timer = setTimeout(() => {
      const limit = isOffered ? LOOKED_THROUGH : SHOWN + chosen.length;
      get("tags", { q: typed, limit }, stop.signal).then(
        (page) => {
          const offered = page.items.filter((tag) => !chosen.includes(tag.topic) && (!isOffered || isOffered(tag)));
          setFound(offered.slice(0, SHOWN));
          setHint(offered.length ? "" : text.common.nothingFound);
          setAt(0);
        },
        (error: unknown) => {
          if (!stop.signal.aborted) setHint(said(asProblem(error)).title);
        },
      );
    }, TYPING_MS);
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [typed, open, chosen.length]);

  const take = (tag: Tag | undefined) => {
    if (!tag) return;
    pick(tag.topic);
    setTyped("");
    setOpen(false);
  };
  const key = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.key === "ArrowDown") setAt(Math.min(at + 1, found.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(at - 1, 0));
    else if (event.key === "Enter") take(found[at]);
    else if (event.key === "Escape") setOpen(false);
    else return;
    event.preventDefault();
  };
  const shown = open && found.length > 0;
  return (
    <div ref={box} class="picker" onFocusOut={(event) => !box.current!.contains(event.relatedTarget as Node) && setOpen(false)}>
      <input
        type="search"
        // The types want it of a combobox.
        list={undefined}
        role="combobox"
        aria-expanded={shown}
        aria-controls={id}
        aria-activedescendant={shown ? `${id}-${at}` : undefined}
        aria-autocomplete="list"
        aria-label={label}
        placeholder={`${label}: ${text.common.typeName}`}
        value={typed}
        onFocus={() => setOpen(true)}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setOpen(true);
        }}
        onKeyDown={key}
      />
      <ul id={id} role="listbox" aria-label={label} hidden={!shown}>
        {found.map((tag, index) => (
          <li
            key={tag.topic}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === at}
            // Before the field loses the focus.
            onPointerDown={(event) => event.preventDefault()}
            onClick={() => take(tag)}
          >
            {brief(tag.topic)} <span class="dim">{tag.unit}</span>
          </li>
        ))}
      </ul>
      {open && hint && (
        <p class="picker-hint" role="status">
          {hint}
        </p>
      )}
    </div>
  );
}
