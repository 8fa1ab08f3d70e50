// Who is logged in.
import { computed, signal } from "@preact/signals";
import { call, ProblemError } from "./http";

export type Role = "viewer" | "operator" | "engineer";
export interface Session {
  name: string;
  role: Role;
  via: string;
  read_only: boolean;
  insecure: boolean;
  csrf: string | null;
}

/** undefined: not asked yet; null: nobody. */
export const session = signal<Session | null | undefined>(undefined);

/** How one can log in here. */
export const ways = signal<readonly string[]>(["password"]);

const RANK: Record<Role, number> = { viewer: 1, operator: 2, engineer: 3 };

function atLeast(role: Role) {
  return computed(() => !!session.value && RANK[session.value.role] >= RANK[role]);
}
export const isOperator = atLeast("operator");
export const isEngineer = atLeast("engineer");
export const mayWrite = computed(() => isOperator.value && !session.value?.read_only);
export const mayChange = computed(() => isEngineer.value && !session.value?.read_only);

/** Asks the console; throws ProblemError when it does not answer. */
export async function load(): Promise<void> {
  try {
    session.value = await call<Session>("GET", "/api/v1/session");
  } catch (error) {
    if (!(error instanceof ProblemError) || error.status !== 401) throw error;
    if (Array.isArray(error.more.login)) ways.value = error.more.login as string[];
    session.value = null;
  }
}

/** Throws ProblemError. */
export async function logIn(name: string, password: string): Promise<void> {
  await call("POST", "/api/v1/session", { name, password });
  await load();
}

export async function logOut(): Promise<void> {
  await call("DELETE", "/api/v1/session");
  session.value = null;
}
