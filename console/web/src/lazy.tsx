// A page that is fetched when it is opened, and again when that failed.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { NO_ANSWER, ProblemError } from "./api/http";
import { Trouble } from "./ui/messages";

const RETRY_MS = 3_000;

export function lazy(load: () => Promise<{ default: ComponentType }>): ComponentType {
  let Loaded: ComponentType | undefined;
  return function Lazy() {
    const [state, set] = useState<"there" | "coming" | "failed">(Loaded ? "there" : "coming");
    useEffect(() => {
      if (Loaded) return;
      let timer = 0;
      const ask = () =>
        load().then(
          (module) => {
            Loaded = module.default;
            set("there");
          },
          () => {
            set("failed");
            timer = setTimeout(ask, RETRY_MS);
          },
        );
      void ask();
      return () => clearTimeout(timer);
    }, []);
    if (Loaded) return <Loaded />;
    return state === "failed" ? <Trouble problem={new ProblemError(NO_ANSWER, "", "")} /> : null;
  };
}
