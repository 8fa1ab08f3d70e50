// A table of any length that holds only the rows in sight.
import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

export const ROW_HEIGHT = 26;
const BEYOND = 8; // rows above and below what is seen

export interface Column {
  id: string;
  title: string;
  width: string;
  numeric?: boolean;
  fixed?: boolean; // nothing to sort by
}

interface Props {
  label: string;
  columns: readonly Column[];
  count: number;
  /** Told the first and the last row in sight. */
  onSeen: (first: number, last: number) => void;
  renderRow: (index: number) => ComponentChildren;
  /** Another list begins at its top. */
  list: string;
  /** The column that it is sorted by, with a minus from the last to the first. */
  sort: string;
  onSort: (sort: string) => void;
}

export function Grid({ label, columns, count, onSeen, renderRow, list, sort, onSort }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState<[number, number]>([0, 40]);
  const look = useCallback(() => {
    const at = box.current;
    if (!at) return;
    const first = Math.max(0, Math.floor(at.scrollTop / ROW_HEIGHT) - BEYOND);
    const last = Math.ceil((at.scrollTop + at.clientHeight) / ROW_HEIGHT) + BEYOND;
    setSeen((old) => (old[0] === first && old[1] === last ? old : [first, last]));
  }, []);
  useLayoutEffect(() => {
    box.current?.scrollTo(0, 0);
    look();
  }, [list]);
  useEffect(() => {
    const watch = new ResizeObserver(look);
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  const first = Math.min(seen[0], Math.max(0, count - 1));
  const last = Math.min(seen[1], count - 1);
  useEffect(() => onSeen(first, last), [first, last, list, count]);
  const template = columns.map((column) => column.width).join(" ");
  const rows = [];
  for (let index = first; index <= last; index++) rows.push(renderRow(index));
  return (
    <div
      ref={box}
      class="grid"
      role="table"
      aria-label={label}
      aria-rowcount={count + 1}
      tabIndex={0}
      style={{ "--columns": template }}
      onScroll={look}
    >
      <div role="rowgroup" class="grid-head">
        <div role="row" class="grid-line" aria-rowindex={1}>
          {columns.map((column) => (
            <div
              key={column.id}
              role="columnheader"
              class={column.numeric ? "num" : ""}
              aria-sort={sort === column.id ? "ascending" : sort === `-${column.id}` ? "descending" : undefined}
            >
              {column.fixed ? (
                <span class="hidden-visually">{column.title}</span>
              ) : (
                <button class="quiet" onClick={() => onSort(next(sort, column.id))}>
                  {column.title} {sort.replace("-", "") === column.id && (sort === column.id ? "↑" : "↓")}
                </button>
              )}
            </div>
          ))}
        </div>
      </div>
      <div role="rowgroup" class="grid-body" style={{ height: `${count * ROW_HEIGHT}px` }}>
        {rows}
      </div>
    </div>
  );
}

/** Up, then down, then as it comes. */
function next(sort: string, id: string): string {
  return sort === id ? `-${id}` : sort === `-${id}` ? "" : id;
}

export function GridRow(props: { index: number; chosen?: boolean; children: ComponentChildren }) {
  return (
    <div
      role="row"
      aria-rowindex={props.index + 2}
      class={props.chosen ? "grid-row grid-line chosen" : "grid-row grid-line"}
      style={{ transform: `translateY(${props.index * ROW_HEIGHT}px)` }}
    >
      {props.children}
    </div>
  );
}
