// What a person has chosen in this browser.
import { signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

/** Storage may be forbidden: then a choice lasts as long as the page. */
export function load<T>(name: string, otherwise: T): T {
  try {
    const kept = localStorage.getItem(`nexus.${name}`);
    return kept === null ? otherwise : (JSON.parse(kept) as T);
  } catch {
    return otherwise;
  }
}

export function save(name: string, value: unknown): void {
  try {
    localStorage.setItem(`nexus.${name}`, JSON.stringify(value));
  } catch {
    // It lasts as long as the page.
  }
}

export const theme = signal<Theme>(load<Theme>("theme", "auto"));

export function setTheme(next: Theme): void {
  save("theme", next);
  theme.value = next;
  applyTheme();
}

export function applyTheme(): void {
  if (theme.value === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
}
