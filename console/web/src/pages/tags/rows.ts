// Tags that are found, fetched as far as somebody looks.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { whenSeen } from "../../api/ask";
import { asProblem, get, isPassing, RETRY_MS, type Asked, type ProblemError } from "../../api/http";
import { fetchLast } from "../../api/last";
import type { Told } from "../../api/routes";
import type { Tag } from "../../api/types";

const PAGE = 1_000;
const MOST = 5_000; // in a page of all
const AGAIN_MS = 10_000;
const EMPTY_AGAIN_MS = 5_000; // somebody may be waiting for the first tag
const SHARE = 10; // of the time at most a tenth is spent on asking: a long list costs the console more

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
  total: number | undefined;
  stop: AbortController;
}

const begin = (next: string | null): Walk => ({ wanted: 0, busy: false, next, tags: [], total: undefined, stop: new AbortController() });

/** `list` names the search: when it changes, the old rows stay until the new ones are there; null asks nothing. */
export function useRows(list: string | null, asked: Asked): Rows {
  const [state, set] = useState<{ tags: Tag[]; total?: number; problem?: ProblemError }>({ tags: [] });
  const walk = useRef(begin(""));
  const page = (at: Walk, after: string) => get("tags", { ...asked, limit: PAGE, after }, at.stop.signal);

  /** Does something that fetches, unless something does already. */
  const alone = useCallback(
    async (fetchMore: (at: Walk) => Promise<void>) => {
      const at = walk.current;
      if (at.busy) return;
      at.busy = true;
      try {
        await fetchMore(at);
      } catch (error) {
        if (at.stop.signal.aborted) return;
        const problem = asProblem(error);
        set((old) => ({ ...old, problem }));
        if (isPassing(problem)) setTimeout(() => !at.stop.signal.aborted && void go(), RETRY_MS);
      } finally {
        at.busy = false;
      }
    },
    [list],
  );

  const go = useCallback(
    () =>
      alone(async (at) => {
        while (at.next !== null && at.tags.length <= at.wanted) {
          const more = await page(at, at.next);
          at.tags = [...at.tags, ...more.items];
          at.next = more.next;
          at.total = more.total;
          set({ tags: at.tags, total: more.total });
        }
      }),
    [list],
  );

  const refresh = useCallback(
    () =>
      alone(async (at) => {
        const found = await renewed(at, (after) => page(at, after));
        Object.assign(at, found);
        set({ tags: found.tags, total: found.total });
      }),
    [list],
  );

  useEffect(() => {
    const at = begin(list === null ? null : "");
    walk.current = at;
    let timer = 0;
    const later = (begun: number) => {
      if (list === null || at.stop.signal.aborted) return;
      const pace = at.total === 0 ? EMPTY_AGAIN_MS : AGAIN_MS;
      timer = setTimeout(() => whenSeen(again), Math.max(pace, SHARE * (Date.now() - begun)));
    };
    const again = async () => {
      const begun = Date.now();
      await refresh();
      await go(); // what somebody has scrolled to meanwhile
      later(begun);
    };
    const started = Date.now();
    void go().then(() => later(started));
    return () => {
      at.stop.abort();
      clearTimeout(timer);
    };
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

/** The first page anew; where the list is another one than it was, all pages that are fetched. */
async function renewed(old: Walk, page: (after: string) => Promise<Told<"get", "tags">>) {
  const { items: tags, ...first } = await page("");
  let { next, total } = first;
  const isOther = total !== old.total || tags.at(-1)?.topic !== old.tags[tags.length - 1]?.topic;
  if (!isOther) return { tags: [...tags, ...old.tags.slice(tags.length)], next: old.next, total };
  while (next !== null && tags.length < old.tags.length) {
    const more = await page(next);
    tags.push(...more.items);
    ({ next, total } = more);
  }
  return { tags, next, total };
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
      timer = setTimeout(() => whenSeen(ask), Math.max(AGAIN_MS, SHARE * (Date.now() - begun)));
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
