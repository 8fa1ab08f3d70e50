// What the REST API answers.
export type Value = number | string | boolean | null;
export type Quality = "good" | "uncertain" | "bad";

export interface Page<T> {
  items: T[];
  next: string | null;
  total?: number;
}
export interface Tag {
  topic: string;
  device: string;
  tag: string;
  unit: string | null;
  since: string | null;
  address: string | null;
  type: string | null;
  writable: boolean | null;
  min: number | null;
  max: number | null;
}
export interface Last {
  topic: string;
  time: string;
  value: Value;
  quality: Quality;
  unit: string | null;
}

export type DeviceState = "online" | "degraded" | "offline" | "unknown";
export interface Device {
  path: string;
  name: string;
  protocol: string | null;
  state: DeviceState;
  reason: string;
  since: string | null;
  breaker: "closed" | "open" | null;
  gateway: string | null;
  last_reading: string | null;
  tags: number | null;
  endpoint: string | null;
  interval: number | null;
}
export interface Gateway {
  group: string;
  member: string;
  state: "online" | "offline";
  version: string | null;
  devices: number | null;
  readings_per_second: number | null;
  lateness_p99: number | null;
  spool_messages: number | null;
  spool_bytes: number | null;
  spool_full_in: number | null;
  receipts_outstanding: number | null;
  ts: string | null;
}
export interface Consumer {
  group: string;
  number: number;
  connected: boolean;
}
export interface Plant {
  items: Device[];
  gateways: Gateway[];
  ingestion: { consumers: Consumer[]; lag_seconds: number | null };
  broker: { connected: boolean; reason: string | null };
  database: { connected: boolean; tier: string | null };
  missing: string[];
}

export interface Point {
  time: string;
  quality: Quality;
  value?: Value;
  min?: number | null;
  max?: number | null;
  avg?: number | null;
  first?: Value;
  last?: Value;
  count?: number;
  good?: number;
}
export interface Span {
  from: string;
  to: string;
}
export interface Series {
  topic: string;
  unit: string | null;
  resolution: string;
  points: Point[];
  gaps: Span[];
}
export interface Annotation extends Span {
  id: number;
  topic: string | null;
  device: string | null;
  text: string;
  person: string;
}

export type Priority = "low" | "medium" | "high" | "critical";
export type AlarmState =
  | "normal"
  | "unacknowledged"
  | "acknowledged"
  | "returned"
  | "latched"
  | "shelved"
  | "suppressed"
  | "out-of-service";
export interface Alarm {
  id: string;
  topic: string;
  device: string;
  tag: string;
  name: string;
  state: AlarmState;
  event: string;
  active: boolean;
  acknowledged: boolean;
  occurrence: string;
  since: string;
  time: string;
  value: Value;
  limit: number | null;
  unit: string | null;
  priority: Priority;
  text: string;
  response: string;
  by: string | null;
  reason: string;
  until: string | null;
}
export interface AlarmPage extends Page<Alarm> {
  counts: { unacknowledged: number; active: number; shelved: number; by_priority: Record<Priority, number> };
  missing: string[];
}
