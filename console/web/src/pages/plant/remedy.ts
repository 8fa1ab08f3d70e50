// What to do about a device's reason, as the drivers word it.
import type { Device } from "../../api/types";
import { text } from "../../text";

type Remedy = keyof typeof text.remedy;

const BY_REASON: readonly [RegExp, Remedy][] = [
  [/no longer in the device files/i, "removed"],
  [/put\/get|optimi[sz]ed/i, "putGet"],
  [/certificate|untrusted|security (policy|checks)/i, "certificate"],
  [/login|password|user ?name|access ?denied|identity/i, "login"],
  [/refused|ECONNREFUSED/i, "refused"],
  [/unreachable|no route|EHOSTUNREACH/i, "unreachable"],
  [/name or service|not known|getaddrinfo|resolve/i, "name"],
  [/illegal data address|illegal address|no such (node|address)|NodeIdUnknown/i, "address"],
  [/in time|timeout|no answer|no connection within|longer than/i, "timeout"],
];

/** A sentence that says what to do. */
export function remedy(device: Device): string {
  if (device.state === "unknown") return text.remedy.unknown;
  const found = BY_REASON.find(([pattern]) => pattern.test(device.reason));
  if (found) return text.remedy[found[1]];
  return device.state === "degraded" ? text.remedy.tags : text.remedy.offline;
}
