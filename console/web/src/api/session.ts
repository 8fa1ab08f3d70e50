// Logging in and out.
import { signal } from "@preact/signals";
import { get, post, ProblemError, remove } from "./http";
import { become } from "./person";

/** How one can log in here. */
export const ways = signal<readonly string[]>(["password"]);

/** Asks the console who is logged in; throws ProblemError when it does not answer. */
export async function load(): Promise<void> {
  try {
    become(await get("session"));
  } catch (error) {
    if (!(error instanceof ProblemError) || error.status !== 401) throw error;
    if (Array.isArray(error.more.login)) ways.value = error.more.login as string[];
    become(null);
  }
}

/** Throws ProblemError. */
export async function logIn(name: string, password: string): Promise<void> {
  await post("session", { name, password });
  await load();
}

/** Throws ProblemError. Loads the page anew: nothing of this person stays in it. */
export async function logOut(): Promise<void> {
  await remove("session");
  location.reload();
}

/** Throws ProblemError. The session is another one then, with another token. */
export async function changePassword(old: string, next: string): Promise<void> {
  become(await post("session/password", { old, new: next }));
}
