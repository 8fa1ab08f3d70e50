// Tags that are found, fetched as far as somebody looks.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { asProblem, get, isPassing, RETRY_MS, type Asked, type ProblemError } from "../../api/http";
import type { Page, Tag } from "../../api/types";

const PAGE = 1_000;

export interface Rows {
  tags: Tag[];
  total: number | undefined;
  problem: ProblemError | undefined;
  /** Fetches until this row is there. */
  reach: (index: number) => void;
}

/** `list` names the search: when it changes, the old rows stay until the new ones are there. */
export function useRows(list: string, asked: Asked): Rows {
  const [state, set] = useState<{ tags: Tag[]; total?: number; problem?: ProblemError }>({ tags: [] });
  const walk = useRef({ wanted: 0, busy: false, next: "" as string | null, tags: [] as Tag[], stop: new AbortController() });

  const go = useCallback(async () => {
    const at = walk.current;
    if (at.busy) return;
    at.busy = true;
    try {
      while (at.next !== null && at.tags.length <= at.wanted) {
        const page = await get<Page<Tag>>("tags", { ...asked, limit: PAGE, after: at.next }, at.stop.signal);
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
    walk.current = { wanted: 0, busy: false, next: "", tags: [], stop: new AbortController() };
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

/** Every tag that is found, for a file. Throws ProblemError. */
export async function all(asked: Asked): Promise<Tag[]> {
  const tags: Tag[] = [];
  for (let next: string | null = ""; next !== null; ) {
    const page: Page<Tag> = await get("tags", { ...asked, limit: PAGE, after: next });
    tags.push(...page.items);
    next = page.next;
  }
  return tags;
}
