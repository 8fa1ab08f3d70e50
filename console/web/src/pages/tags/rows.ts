// Tags that are found, fetched as far as somebody looks.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asProblem, get, isPassing, RETRY_MS, type Asked, type ProblemError } from "../../api/http";
import { fetchLast } from "../../api/last";
import type { Told } from "../../api/routes";
import type { Tag } from "../../api/types";

const PAGE = 1_000;
const MOST = 5_000; // in a page of all
const AGAIN_MS = 10_000;

export interface Rows {
  tags: Tag[];
  total: number | undefined;
  problem: ProblemError | undefined;
  /** Fetches until this row is there. */
  reach: (index: number) => void;
}

/** How far a list is fetched; `next` is null at its end. */
interface Walk {
  wanted: number;
  busy: boolean;
  next: string | null;
  tags: Tag[];
  stop: AbortController;
}

/** `list` names the search: when it changes, the old rows stay until the new ones are there; null asks nothing. */
export function useRows(list: string | null, asked: Asked): Rows {
  const [state, set] = useState<{ tags: Tag[]; total?: number; problem?: ProblemError }>({ tags: [] });
  const walk = useRef<Walk>({ wanted: 0, busy: false, next: "", tags: [], stop: new AbortController() });

  const go = useCallback(async () => {
    const at = walk.current;
    if (at.busy) return;
    at.busy = true;
    try {
      while (at.next !== null && at.tags.length <= at.wanted) {
        const page = await get("tags", { ...asked, limit: PAGE, after: at.next }, at.stop.signal);
        at.tags = [...at.tags, ...page.items];
        at.next = page.next;
        set({ tags: at.tags, total: page.total ?? at.tags.length });
      }
    } catch (error) {
      if (at.stop.signal.aborted) return;
      const problem = asProblem(error);
      set((old) => ({ ...old, problem }));
      if (isPassing(problem)) setTimeout(() => !at.stop.signal.aborted && void go(), RETRY_MS);
    } finally {
      at.busy = false;
    }
  }, [list]);

  useEffect(() => {
    walk.current = { wanted: 0, busy: false, next: list === null ? null : "", tags: [], stop: new AbortController() };
    void go();
    return () => walk.current.stop.abort();
  }, [list]);

  const reach = useCallback(
    (index: number) => {
      walk.current.wanted = Math.max(walk.current.wanted, index);
      void go();
    },
    [go],
  );
  return { tags: state.tags, total: state.total, problem: state.problem, reach };
}

/** Every tag that is found with its last value, again and again; null asks nothing. */
export function useAll(list: string | null, asked: Asked): Omit<Rows, "total"> & { isThere: boolean } {
  const [state, set] = useState<{ tags: Tag[]; problem?: ProblemError; isThere: boolean }>({ tags: [], isThere: false });
  useEffect(() => {
    if (list === null) return;
    const stop = new AbortController();
    let timer = 0;
    const ask = async () => {
      const begun = Date.now();
      try {
        const tags = await all(asked, stop.signal);
        await fetchLast(tags.map((tag) => tag.topic), stop.signal);
        set({ tags, isThere: true });
      } catch (error) {
        if (stop.signal.aborted) return;
        const problem = asProblem(error);
        set((old) => ({ ...old, problem }));
        if (!isPassing(problem)) return;
      }
      // A long list costs the console more: it is asked for less often.
      timer = setTimeout(() => void ask(), Math.max(AGAIN_MS, 10 * (Date.now() - begun)));
    };
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [list]);
  return { ...state, problem: state.problem, reach: noReach };
}

const noReach = () => undefined;

/** Every tag that is found. Throws ProblemError. */
export async function all(asked: Asked, stop?: AbortSignal): Promise<Tag[]> {
  const tags: Tag[] = [];
  for (let next: string | null = ""; next !== null; ) {
    const page: Told<"get", "tags"> = await get("tags", { ...asked, limit: MOST, after: next }, stop);
    tags.push(...page.items);
    next = page.next;
  }
  return tags;
}
