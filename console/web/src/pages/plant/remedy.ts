// What to do about a device's trouble, by the kind that its gateway says it is of.
import type { Device } from "../../api/types";
import { text } from "../../text";

type Remedy = keyof typeof text.remedy;

const BY_KIND: Record<string, Remedy> = {
  refused: "refused",
  timeout: "timeout",
  unreachable: "unreachable",
  "unknown-host": "name",
  closed: "closed",
  certificate: "certificate",
  login: "login",
  address: "address",
  block: "block",
  "put-get": "putGet",
  tags: "tags",
  removed: "removed",
};

/** A sentence that says what to do. */
export function remedy({ state, kind }: Device): string {
  if (state === "unknown") return text.remedy.unknown;
  // Older gateways say no kind, and newer ones may say others.
  const found = Object.hasOwn(BY_KIND, kind) ? BY_KIND[kind] : undefined;
  return text.remedy[found ?? (state === "degraded" ? "tags" : "offline")];
}
