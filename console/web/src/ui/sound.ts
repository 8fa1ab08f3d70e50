// A sound for alarms, if a person wants one: a browser allows it after the first click or key in a page.
import { effect, signal } from "@preact/signals";
import { called } from "../api/live";
import { load, save } from "../settings";

const TONES_HZ = [880, 660];
const TONE_S = 0.18;

export const sound = signal(load("alarmSound", false));
let audio: AudioContext | undefined;

export function setSound(on: boolean): void {
  save("alarmSound", on);
  sound.value = on;
  if (on) play(); // so that it is known how it sounds, and allowed from now on
}

function allow(): void {
  if (sound.value) void context().resume();
}

function context(): AudioContext {
  return (audio ??= new AudioContext());
}

function play(): void {
  const at = context();
  void at.resume();
  TONES_HZ.forEach((frequency, index) => {
    const tone = new OscillatorNode(at, { frequency });
    const start = at.currentTime + index * TONE_S;
    tone.connect(new GainNode(at, { gain: 0.2 })).connect(at.destination);
    tone.start(start);
    tone.stop(start + TONE_S);
  });
}

for (const event of ["pointerdown", "keydown"]) addEventListener(event, allow, { passive: true });
effect(() => {
  if (called.value && sound.peek() && audio?.state === "running") play();
});
