// Asks for a resource while a component is shown, again and again if wished; keeps the last answer when one fails.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { address, asProblem, call, isPassing, RETRY_MS, type Asked, type ProblemError } from "./http";
import type { Told } from "./routes";

export interface Answer<T> {
  data: T | undefined;
  problem: ProblemError | undefined;
  asking: boolean;
  again: () => void;
}

/** `resource` null asks nothing. With `every`, asks again that many milliseconds after each answer. */
export function useAsk<R extends string>(resource: R | null, asked: Asked = {}, every = 0): Answer<Told<"get", R>> {
  type T = Told<"get", R>;
  const url = resource === null ? null : address(resource, asked);
  const [state, set] = useState<{ url: string | null; data?: T; problem?: ProblemError; asking: boolean }>({
    url: null,
    asking: true,
  });
  const [round, setRound] = useState(0);
  const again = useCallback(() => setRound((n) => n + 1), []);
  const kept = useRef(resource);

  useEffect(() => {
    if (url === null) return;
    const stop = new AbortController();
    let timer = 0;
    // Another query of the same resource shows the old answer until the new one is there.
    if (kept.current !== resource) set({ url, asking: true });
    kept.current = resource;
    const ask = async () => {
      let wait = every;
      set((old) => ({ ...old, asking: true }));
      try {
        const data = await call<T>("GET", url, undefined, stop.signal);
        set({ url, data, asking: false });
      } catch (error) {
        if (stop.signal.aborted) return;
        const problem = asProblem(error);
        set((old) => ({ ...old, url, problem, asking: false }));
        if (isPassing(problem)) wait = Math.max(every, RETRY_MS);
      }
      if (wait) timer = setTimeout(() => whenSeen(ask), wait);
    };
    void ask();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [url, every, round]);

  return { data: state.data, problem: state.problem, asking: state.asking, again };
}

/** A page that nobody sees asks nothing. */
export function whenSeen(ask: () => Promise<void>): void {
  if (document.hidden) document.addEventListener("visibilitychange", () => whenSeen(ask), { once: true });
  else void ask();
}
