// Where we are, and how to go elsewhere without loading the page again.
import { computed, signal } from "@preact/signals";

const address = signal(location.pathname + location.search);

export const here = computed(() => new URL(address.value, location.origin));
export const path = computed(() => here.value.pathname);
export const query = computed(() => here.value.searchParams);

/** Shows another page; `replace` leaves no entry to go back to. */
export function go(to: string, replace = false): void {
  if (to === address.value) return;
  history[replace ? "replaceState" : "pushState"](null, "", to);
  const before = path.value;
  address.value = to;
  if (before !== path.value) scrollTo(0, 0);
}

/** An address from a path and what is asked for; empty values are left out. */
export function to(path: string, asked: Record<string, string | readonly string[] | undefined> = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    for (const each of typeof value === "string" ? [value] : (value ?? [])) if (each !== "") search.append(name, each);
  }
  // Slashes and colons may stand in a query, and a person can read them there.
  const text = search.toString().replaceAll("%2F", "/").replaceAll("%3A", ":");
  return text ? `${path}?${text}` : path;
}

/** The page of a device. */
export const toDevice = (path: string) => `/plant/${path.split("/").map(encodeURIComponent).join("/")}`;

/** The device whose page an address is; its paths may have any character, and an address may be cut. */
export function deviceAt(address: string): string {
  try {
    return decodeURIComponent(/^\/plant\/(.+)/.exec(address)?.[1] ?? "");
  } catch {
    return "";
  }
}

/** Follows our own links in place. */
export function start(): void {
  addEventListener("popstate", () => (address.value = location.pathname + location.search));
  addEventListener("click", (event) => {
    const link = (event.target as Element).closest("a");
    const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
    if (!link || !plain || event.defaultPrevented || link.target || link.hasAttribute("download")) return;
    const url = new URL(link.href);
    if (url.origin !== location.origin || url.pathname.startsWith("/api/")) return;
    if (url.hash && url.pathname === location.pathname) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
}
