// Something a person does: it is under way, has failed, or is done.
import { useState } from "preact/hooks";
import { asProblem, type ProblemError } from "./http";

export interface Act {
  busy: boolean;
  problem: ProblemError | undefined;
  /** Does it; true when it is done. */
  run: (what: () => Promise<unknown>) => Promise<boolean>;
  clear: () => void;
}

export function useAct(): Act {
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<ProblemError>();
  const run = async (what: () => Promise<unknown>) => {
    setBusy(true);
    setProblem(undefined);
    try {
      await what();
      return true;
    } catch (error) {
      setProblem(asProblem(error));
      return false;
    } finally {
      setBusy(false);
    }
  };
  return { busy, problem, run, clear: () => setProblem(undefined) };
}
