import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface Props {
  title: string;
  close: () => void;
  children: ComponentChildren;
}

/** In front of the page until it is closed; Escape closes it. The focus goes back to where it was. */
export function Dialog({ title, close, children }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    box.current?.showModal();
    return () => void setTimeout(() => refocus(before));
  }, []);
  return (
    <dialog ref={box} onClose={close} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}

/** What was pressed may be disabled by now: then the field of its form. */
function refocus(before: Element | null): void {
  const field = before?.matches(":disabled") ? before.closest("form")?.querySelector("input, select") : before;
  if (field instanceof HTMLElement) field.focus();
}
