// The head with the ways to every page, and what holds for all of them.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useAct } from "../api/act";
import { expired, isEngineer, session } from "../api/person";
import { logOut } from "../api/session";
import { path } from "../router";
import { setTheme, theme, type Theme } from "../settings";
import { language, setLanguage, text, type Language } from "../text";
import { AlarmBar } from "./alarm_bar";
import { Dialog } from "./dialog";
import { Icon } from "./icon";
import { Notice, Trouble } from "./messages";
import { PasswordDialog } from "./password";

const PAGES = ["plant", "alarms", "notifications", "tags", "trend", "writes", "files", "rejects", "completeness", "audit", "users", "about"] as const;
const NEXT_THEME: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };

export function Shell({ children }: { children: ComponentChildren }) {
  const [open, setOpen] = useState(false);
  const first = (path.value.split("/")[1] ?? "") || "plant";
  const title = first in text.nav ? text.nav[first as keyof typeof text.nav] : "";
  const main = useRef<HTMLElement>(null);
  const head = useRef<HTMLElement>(null);
  const narrow = useNarrow(head, first);
  const shown = useRef(first);
  useEffect(() => {
    setOpen(false);
    document.title = title ? `${title} · Nexus Edge` : "Nexus Edge";
    // Another page begins at its beginning, for the keyboard and for who hears it.
    if (shown.current !== first) main.current?.focus();
    shown.current = first;
  }, [first]);
  return (
    <>
      <a class="skip" href="#content">
        {text.nav.skip}
      </a>
      <header class={narrow ? "head narrow" : "head"} ref={head}>
        <a class="brand" href="/">
          <img src="/icon.svg" alt="" width="20" height="20" />
          Nexus Edge
        </a>
        <button class="quiet menu" aria-expanded={open} aria-controls="nav" onClick={() => setOpen(!open)}>
          <Icon name={open ? "close" : "menu"} label={text.nav.menu} />
        </button>
        <nav id="nav" class={open ? "open" : ""} aria-label={text.nav.menu} onClick={() => setOpen(false)}>
          {PAGES.filter((page) => page !== "users" || isEngineer.value).map((page) => (
            <a key={page} href={page === "plant" ? "/" : `/${page}`} aria-current={page === first ? "page" : undefined}>
              {text.nav[page]}
            </a>
          ))}
        </nav>
        <Preferences />
      </header>
      <AlarmBar />
      <main id="content" tabIndex={-1} ref={main}>
        {session.value?.insecure && <Notice kind="warn">{text.shell.insecure}</Notice>}
        {session.value?.read_only && <Notice kind="info">{text.shell.readOnly}</Notice>}
        {children}
      </main>
    </>
  );
}

/** Whether the words of the menu have no room beside each other, in whichever language they are. */
function useNarrow(head: { current: HTMLElement | null }, page: string): boolean {
  const [narrow, setNarrow] = useState(false);
  const needed = useRef(0);
  useLayoutEffect(() => {
    const measure = () => {
      const at = head.current!;
      if (narrow) return void (at.clientWidth >= needed.current && setNarrow(false));
      const nav = at.querySelector("nav")!;
      const lacking = nav.scrollWidth - nav.clientWidth;
      if (lacking <= 0) return;
      needed.current = at.clientWidth + lacking;
      setNarrow(true);
    };
    measure();
    const watch = new ResizeObserver(measure);
    watch.observe(head.current!);
    return () => watch.disconnect();
  }, [narrow, page]); // the page's own word is bold
  return narrow;
}

export function Preferences() {
  const person = expired.value ? null : session.value;
  const act = useAct();
  const [open, setOpen] = useState(false);
  return (
    <div class="preferences">
      {open && <PasswordDialog close={() => setOpen(false)} />}
      <select
        aria-label={text.shell.language}
        value={language}
        onChange={(event) => setLanguage(event.currentTarget.value as Language)}
      >
        <option value="en">EN</option>
        <option value="de">DE</option>
      </select>
      <button class="quiet" title={text.shell.theme[theme.value]} onClick={() => setTheme(NEXT_THEME[theme.value])}>
        <Icon name="theme" label={text.shell.theme[theme.value]} />
      </button>
      {person && !person.insecure && (
        <>
          {person.via === "session" ? (
            <button class="quiet person" title={text.password.title} onClick={() => setOpen(true)}>
              {person.name}
            </button>
          ) : (
            <span class="person">{person.name}</span>
          )}
          <button class="quiet" disabled={act.busy} onClick={() => void act.run(logOut)}>
            {text.shell.logOut}
          </button>
          {act.problem && (
            <Dialog title={text.shell.notLoggedOut} close={act.clear}>
              <Trouble problem={act.problem} />
            </Dialog>
          )}
        </>
      )}
    </div>
  );
}
