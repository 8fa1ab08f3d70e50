// Last values from the database: at once, and when the broker is away.
import { useEffect } from "preact/hooks";
import { post } from "./http";
import { learn } from "./live";
import type { Last } from "./types";

const WAIT_MS = 120; // while somebody scrolls
const MOST = 1_000; // topics in a request
const TOGETHER = 2; // requests: the console lets one person have some queries at a time

/** Asks once for the last values of topics that are shown; what is live is newer and stays. */
export function useLast(topics: readonly string[]): void {
  const key = topics.join("\n");
  useEffect(() => {
    if (!key) return;
    const stop = new AbortController();
    const timer = setTimeout(() => void fetchLast(key.split("\n"), stop.signal).catch(() => undefined), WAIT_MS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [key]);
}

/** Throws ProblemError. */
export async function fetchLast(topics: readonly string[], signal?: AbortSignal): Promise<Map<string, Last>> {
  const found = new Map<string, Last>();
  let at = 0;
  const askOn = async () => {
    while (at < topics.length) {
      const some = topics.slice(at, (at += MOST));
      const page = await post("last", { topics: some }, signal);
      for (const item of page.items) {
        found.set(item.topic, item);
        learn(item.topic, { ...item, time: new Date(item.time).getTime() });
      }
    }
  };
  await Promise.all(Array.from({ length: TOGETHER }, askOn));
  return found;
}
