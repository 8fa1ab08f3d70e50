// What a receiver has answered, the last answer first; and who has not got a mail.
import type { Notification } from "../../api/types";
import { duration, moment } from "../../format";
import { text } from "../../text";

export function Tries({ of }: { of: Notification }) {
  const last = of.answer || (of.digest ? text.notifications.inDigest(of.digest) : "–");
  return (
    <>
      {of.attempts.length ? (
        <details>
          <summary>{last}</summary>
          <ol class="plain">
            {of.attempts.toReversed().map((one) => (
              <li key={one.number}>
                {one.number}. {moment(one.time)} ({duration(one.seconds)}): {one.answer}
              </li>
            ))}
          </ol>
        </details>
      ) : (
        last
      )}
      {of.state !== "sent" && of.remaining !== null && <strong>{text.notifications.remaining(of.remaining.join(", "))}</strong>}
    </>
  );
}
