// Values of tags as lists show them: rounded, and all their digits as a title.
import type { Alarm, Value } from "../api/types";
import { rounded, value } from "../format";

export function Rounded({ of }: { of: Value | undefined }) {
  const [shown, all] = [rounded(of), value(of)];
  return shown === all ? <>{all}</> : <span title={all}>{shown}</span>;
}

/** An alarm's value, and the limit that it crossed. */
export function Measured({ alarm }: { alarm: Alarm }) {
  if (alarm.value === null) return <Rounded of={alarm.value} />;
  return (
    <>
      <Rounded of={alarm.value} />
      {alarm.unit && ` ${alarm.unit}`}
      {alarm.limit !== null && (
        <>
          {" ("}
          <Rounded of={alarm.limit} />)
        </>
      )}
    </>
  );
}
