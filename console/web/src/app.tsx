// The frame around every page: who is logged in, where we are, and what is shown there.
import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { asProblem, type ProblemError } from "./api/http";
import { expired, session } from "./api/person";
import { load } from "./api/session";
import { lazy } from "./lazy";
import { Login, LoginAgain } from "./pages/login";
import { Plant } from "./pages/plant";
import { path } from "./router";
import { text } from "./text";
import { Boundary } from "./ui/boundary";
import { Empty, Trouble } from "./ui/messages";
import { Shell } from "./ui/shell";

const RETRY_MS = 3_000;

// The first page is small: the others come when they are opened.
const PAGES: Record<string, ComponentType> = {
  alarms: lazy(() => import("./pages/alarms")),
  tags: lazy(() => import("./pages/tags")),
  trend: lazy(() => import("./pages/trend")),
  writes: lazy(() => import("./pages/writes")),
  files: lazy(() => import("./pages/files")),
  rejects: lazy(() => import("./pages/rejects")),
  completeness: lazy(() => import("./pages/completeness")),
  notifications: lazy(() => import("./pages/notifications")),
  audit: lazy(() => import("./pages/audit")),
  users: lazy(() => import("./pages/users")),
  about: lazy(() => import("./pages/about")),
};

export function App() {
  const [problem, setProblem] = useState<ProblemError>();
  const known = session.value;
  useEffect(() => {
    if (known !== undefined) return setProblem(undefined);
    let timer = 0;
    const ask = () =>
      load().catch((error: unknown) => {
        setProblem(asProblem(error));
        timer = setTimeout(ask, RETRY_MS);
      });
    void ask();
    return () => clearTimeout(timer);
  }, [known === undefined]);

  if (known === undefined) return <main class="alone">{problem && <Trouble problem={problem} />}</main>;
  if (known === null) return <Login />;
  return (
    <>
      {expired.value && <LoginAgain />}
      <Shell key={known.name}>
        <Boundary key={path.value.split("/")[1]}>
          <Page />
        </Boundary>
      </Shell>
    </>
  );
}

function Page() {
  const first = path.value.split("/")[1] ?? "";
  if (first === "" || first === "plant") return <Plant />;
  const Found = PAGES[first];
  if (!Found) return <Empty title={text.shell.notFound} action={<a href="/">{text.shell.toPlant}</a>} />;
  return <Found />;
}
