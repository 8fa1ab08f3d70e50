// Requests to the console's REST API, and what can go wrong with them.
import { again, become, session } from "./person";
import type { Sent, Told } from "./routes";

const API = "/api/v1/";

export const NO_ANSWER = 0;
export const PAGE_FAULT = -1;
export const RETRY_MS = 5_000;
const ANSWER_MS = 20_000; // to a question; the database has 10 s for it

/** An answer that is not what was asked for; `status` is that of HTTP, or one of the above. */
export class ProblemError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly more: Record<string, unknown> = {},
  ) {
    super(detail ? `${title}: ${detail}` : title);
  }

  /** What it is, where that tells a page what to say; empty for others. */
  get kind(): string {
    return texts(this.more.kind) ?? "";
  }
}

/** Whatever was thrown; what is no ProblemError is a fault of ours, and is not to look like an outage. */
export function asProblem(error: unknown): ProblemError {
  if (error instanceof ProblemError) return error;
  console.error(error);
  return new ProblemError(PAGE_FAULT, "", String(error));
}

/** What is away comes back: nobody has to load the page again. */
export const isPassing = ({ status }: ProblemError) => status === NO_ANSWER || status >= 500;

export type Asked = Record<string, string | number | readonly string[] | undefined | null>;

/** The address of a resource; empty values are left out. */
export function address(resource: string, asked: Asked = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== null && each !== "") search.append(name, String(each));
    }
  }
  return API + resource + (search.size ? `?${search}` : "");
}

/** Throws ProblemError. */
export async function call<T>(method: string, url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && session.value?.csrf) headers["X-CSRF-Token"] = session.value.csrf;
  const init: RequestInit = { method, headers, credentials: "same-origin" };
  if (body !== undefined) init.body = JSON.stringify(body);
  const signals = [signal, method === "GET" ? AbortSignal.timeout(ANSWER_MS) : undefined];
  init.signal = AbortSignal.any(signals.filter((one) => one !== undefined));
  let answer: Response;
  let content: unknown = null;
  try {
    answer = await fetch(url, init);
    if (/json/.test(answer.headers.get("Content-Type") ?? "")) content = await answer.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ProblemError(NO_ANSWER, "", "");
  }
  if (answer.ok) return content as T;
  if (answer.status === 401 && session.value && !url.endsWith("/session")) {
    become(null);
    // A question waits for another login. An act does not: what it was for may have passed by then.
    if (method === "GET") return again(signal).then(() => call<T>(method, url, body, signal));
  }
  const { title, detail, ...more } = (content ?? {}) as Record<string, unknown>;
  throw new ProblemError(answer.status, texts(title) ?? answer.statusText, texts(detail) ?? "", more);
}

const texts = (of: unknown) => (typeof of === "string" ? of : undefined);

export const get = <R extends string>(resource: R, asked?: Asked, signal?: AbortSignal) =>
  call<Told<"get", R>>("GET", address(resource, asked), undefined, signal);
export const post = <R extends string>(resource: R, body: Sent<"post", R>, signal?: AbortSignal) =>
  call<Told<"post", R>>("POST", address(resource), body, signal);
export const patch = <R extends string>(resource: R, body: Sent<"patch", R>) =>
  call<Told<"patch", R>>("PATCH", address(resource), body);
export const remove = <R extends string>(resource: R) => call<Told<"delete", R>>("DELETE", address(resource));
