// The alarms that stand, asked for again when one changes.
import { useEffect, useRef } from "preact/hooks";
import { useAsk, type Answer } from "./ask";
import type { Asked } from "./http";
import { alarmsChanged } from "./live";
import type { AlarmPage } from "./types";

const EVERY_MS = 10_000;
const BETWEEN_MS = 500; // in a flood

export function useAlarms(asked: Asked): Answer<AlarmPage> {
  const answer = useAsk("alarms", asked, EVERY_MS);
  const last = useRef({ change: 0, at: 0 });
  const change = alarmsChanged.value;
  useEffect(() => {
    // An answer under way is waited for: in a flood there would never be one.
    if (answer.asking || change === last.current.change) return;
    const ask = () => {
      last.current = { change: alarmsChanged.peek(), at: Date.now() };
      answer.again();
    };
    const timer = setTimeout(ask, Math.max(0, last.current.at + BETWEEN_MS - Date.now()));
    return () => clearTimeout(timer);
  }, [change, answer.asking]);
  return answer;
}
