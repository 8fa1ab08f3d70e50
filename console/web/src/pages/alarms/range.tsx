// How far back events and figures go.
import { text } from "../../text";

const HOURS = { hour: 1, day: 24, week: 168, month: 720 };
export type Length = keyof typeof HOURS;
const LENGTHS: readonly Length[] = ["hour", "day", "week", "month"];

/** The moment so far back. */
export const since = (length: Length) => new Date(Date.now() - HOURS[length] * 3_600_000).toISOString();

export function Range({ of, set }: { of: Length; set: (length: Length) => void }) {
  return (
    <select
      aria-label={text.alarms.head.at}
      value={of}
      onChange={(event) => set(LENGTHS.find((one) => one === event.currentTarget.value) ?? of)}
    >
      {LENGTHS.map((one) => (
        <option key={one} value={one}>
          {text.alarms.range[one]}
        </option>
      ))}
    </select>
  );
}
