// Live values over one WebSocket, subscribed to what is shown.
import { effect, signal, type Signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { expired, session } from "./person";
import { load } from "./session";
import type { Alarm, Quality, Value } from "./types";

/** `time` in milliseconds. */
export interface Reading {
  time: number;
  value: Value;
  quality: Quality;
  unit: string | null;
}
type Frame = {
  values?: [string, number, Value, Quality, (string | null)?][];
  devices?: unknown[];
  alarms?: Alarm[];
  gap?: { from: string; to: string | null; reason: string };
  error?: unknown;
};
type Hear = (topic: string, reading: Reading) => void;

const FRAMES_PER_SECOND = 4;
const RETRY_MS = [500, 1_000, 2_000, 5_000, 10_000];
const LOGGED_OUT = 4401;
export const CLOSED = "closed"; // without a reason
const LINGER_MS = 2_000; // a row scrolled away and back needs no new subscription

/** What keeps live values from us; empty when they come. */
export const away = signal<string | null>(null);
/** Counts frames about devices: who shows their states asks again. */
export const devicesChanged = signal(0);
/** Counts frames about alarms, likewise. */
export const alarmsChanged = signal(0);
/** Counts frames with an alarm that has begun to wait for a person. */
export const called = signal(0);
let lastCall = "";

const readings = new Map<string, Signal<Reading | undefined>>();
const wanted = new Map<string, number>();
const hearers = new Set<Hear>();
let subscribed = new Set<string>();
let socket: WebSocket | undefined;
let failures = 0;
let timer = 0;
let flushing = 0;

/** The newest reading of a topic. */
export function reading(topic: string): Signal<Reading | undefined> {
  let found = readings.get(topic);
  if (!found) readings.set(topic, (found = signal(undefined)));
  return found;
}

/** Takes a reading from wherever, unless a newer one is known. */
export function learn(topic: string, next: Reading): void {
  const known = reading(topic);
  if (known.value && known.value.time > next.time) return;
  known.value = next;
}

/** Subscribes to these topics (or `device:` paths) while the component is shown; `hear` is told of each reading. */
export function useLive(topics: readonly string[], hear?: Hear): void {
  const key = useMemo(() => topics.toSorted().join("\n"), [topics]);
  useEffect(() => {
    const mine = key ? key.split("\n") : [];
    for (const topic of mine) wanted.set(topic, (wanted.get(topic) ?? 0) + 1);
    flushSoon(0);
    return () => {
      for (const topic of mine) {
        const left = (wanted.get(topic) ?? 1) - 1;
        if (left) wanted.set(topic, left);
        else wanted.delete(topic);
      }
      flushSoon(LINGER_MS);
    };
  }, [key]);
  useEffect(() => {
    if (!hear) return;
    hearers.add(hear);
    return () => void hearers.delete(hear);
  }, [hear]);
}

effect(() => {
  if (session.value && !expired.value) flushSoon(0);
});

function flushSoon(delay: number): void {
  clearTimeout(flushing);
  flushing = setTimeout(flush, delay);
}

function flush(): void {
  if (!socket) return connect();
  if (socket.readyState !== WebSocket.OPEN) return;
  const subscribe = [...wanted.keys()].filter((topic) => !subscribed.has(topic));
  const unsubscribe = [...subscribed].filter((topic) => !wanted.has(topic));
  if (subscribe.length || unsubscribe.length) socket.send(JSON.stringify({ subscribe, unsubscribe }));
  subscribed = new Set(wanted.keys());
  for (const topic of unsubscribe) readings.delete(topic);
}

function connect(): void {
  clearTimeout(timer);
  if (!session.value || expired.value) return;
  const opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/live`);
  socket = opened;
  subscribed = new Set();
  opened.onopen = () => {
    failures = 0;
    away.value = null;
    opened.send(JSON.stringify({ rate: FRAMES_PER_SECOND, alarms: true }));
    flush();
  };
  opened.onmessage = (event) => take(JSON.parse(String(event.data)) as Frame);
  opened.onclose = (event) => {
    socket = undefined;
    // There may be another session by now, as after a new password.
    if (event.code === LOGGED_OUT) void load().catch(() => undefined);
    else away.value = event.reason || CLOSED;
    timer = setTimeout(connect, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
  };
}

function take(frame: Frame): void {
  for (const [topic, time, value, quality, unit] of frame.values ?? []) {
    const next = { time, value, quality, unit: unit ?? reading(topic).peek()?.unit ?? null };
    learn(topic, next);
    for (const hear of hearers) hear(topic, next);
  }
  if (frame.devices) devicesChanged.value++;
  if (frame.alarms) hearAlarms(frame.alarms);
  if (frame.error) away.value = typeof frame.error === "string" ? frame.error : JSON.stringify(frame.error);
  else if (frame.gap) away.value = frame.gap.to === null ? frame.gap.reason : null; // one that has ended is over
  else if (frame.values) away.value = null;
}

function hearAlarms(alarms: readonly Alarm[]): void {
  alarmsChanged.value++;
  const calls = alarms.filter((one) => one.state === "unacknowledged" && one.time > lastCall);
  if (!calls.length) return;
  called.value++;
  lastCall = calls.reduce((last, one) => (one.time > last ? one.time : last), lastCall);
}
