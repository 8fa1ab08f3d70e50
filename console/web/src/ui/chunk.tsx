// Part of a long table: its rows are there while they are in sight or nearly so.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

export const CHUNK = 40; // rows
const AHEAD = "600px"; // above and below what is seen
const USUAL_PX = 31; // of a row that was never drawn

interface Props {
  /** How many rows it has, and columns. */
  count: number;
  columns: number;
  /** In sight before anything is known of where it is. */
  first: boolean;
  rows: () => ComponentChildren;
}

export function Chunk({ count, columns, first, rows }: Props) {
  const body = useRef<HTMLTableSectionElement>(null);
  const [isNear, setNear] = useState(first);
  const height = useRef(count * USUAL_PX);
  useEffect(() => {
    const watch = new IntersectionObserver(([at]) => at && setNear(at.isIntersecting), { rootMargin: AHEAD });
    watch.observe(body.current!);
    return () => watch.disconnect();
  }, []);
  useLayoutEffect(() => {
    // What is taken away later leaves as much room.
    if (!isNear) return;
    const at = body.current!;
    return () => void (height.current = at.getBoundingClientRect().height || height.current);
  }, [isNear]);
  return (
    <tbody ref={body}>
      {isNear ? (
        rows()
      ) : (
        <tr aria-hidden="true">
          <td colSpan={columns} style={{ height: `${height.current}px` }} />
        </tr>
      )}
    </tbody>
  );
}

/** So many rows from each of these numbers on. */
export const chunks = (count: number) => Array.from({ length: Math.ceil(count / CHUNK) }, (_, index) => index * CHUNK);
