// Lists that come a page at a time.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { address, asProblem, call, isPassing, RETRY_MS, type Asked, type ProblemError } from "./http";
import type { ItemOf, Told } from "./routes";

export interface Pages<T, P> {
  items: T[];
  /** The first page, with what it says besides its items. */
  first: P | undefined;
  problem: ProblemError | undefined;
  asking: boolean;
  more: (() => void) | undefined;
  again: () => void;
}

interface Page<T> {
  items: readonly T[];
  next: string | null;
}

export function usePages<R extends string>(resource: R, asked: Asked): Pages<ItemOf<R>, Told<"get", R>> {
  type P = Page<ItemOf<R>>;
  const url = address(resource, asked);
  const [pages, setPages] = useState<P[]>([]);
  const [problem, setProblem] = useState<ProblemError>();
  const [asking, setAsking] = useState(true);
  const [round, setRound] = useState(0);
  const stop = useRef(new AbortController());
  const again = useCallback(() => setRound((n) => n + 1), []);

  const ask = useCallback(
    async (after: string | null, before: P[]) => {
      const signal = stop.current.signal;
      setAsking(true);
      try {
        const page = await call<P>("GET", address(resource, { ...asked, after }), undefined, signal);
        setPages([...before, page]);
        setProblem(undefined);
      } catch (error) {
        if (signal.aborted) return;
        const found = asProblem(error);
        setProblem(found);
        if (isPassing(found)) setTimeout(() => !signal.aborted && again(), RETRY_MS);
      }
      setAsking(false);
    },
    [url],
  );
  useEffect(() => {
    stop.current = new AbortController();
    void ask(null, []);
    return () => stop.current.abort();
  }, [ask, round]);

  const next = pages.at(-1)?.next ?? null;
  return {
    items: pages.flatMap((page) => page.items),
    first: pages[0] as Told<"get", R> | undefined,
    problem,
    asking,
    more: next === null ? undefined : () => void ask(next, pages),
    again,
  };
}
