// Who is logged in, and what they may do.
import { computed, signal } from "@preact/signals";
import type { Role, Session } from "./types";


/** undefined: not asked yet; null: nobody. */
export const session = signal<Session | null | undefined>(undefined);

/** The session has ended, but the page stays as it is until there is another. */
export const expired = signal(false);

const RANK: Record<Role, number> = { viewer: 1, operator: 2, engineer: 3 };

function atLeast(role: Role) {
  return computed(() => !!session.value && RANK[session.value.role] >= RANK[role]);
}
export const isOperator = atLeast("operator");
export const isEngineer = atLeast("engineer");
export const mayWrite = computed(() => isOperator.value && !session.value?.read_only);
export const mayChange = computed(() => isEngineer.value && !session.value?.read_only);

/** Takes what the console says: a session, or none. */
export function become(next: Session | null): void {
  if (next === null && session.value) return void (expired.value = true);
  session.value = next;
  expired.value = false;
}

/** Resolves when somebody has logged in again; rejects when `stop` is aborted. */
export function again(stop?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = expired.subscribe((is) => {
      if (is) return;
      resolve();
      queueMicrotask(() => end());
    });
    stop?.addEventListener("abort", () => (end(), reject(stop.reason)), { once: true });
  });
}
