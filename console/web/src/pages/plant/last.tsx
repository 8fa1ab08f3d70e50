// When a device was last read, as of the page's last question.
import type { Device } from "../../api/types";
import { Age } from "../../ui/state";

/** Between two questions about the plant. */
export const EVERY_MS = 5_000;
const FRESH_S = (3 * EVERY_MS) / 1_000; // less than that tells when we asked, not when the device was read

export const LastReading = ({ of }: { of: Device }) => <Age of={of.last_reading} fresh={FRESH_S} />;
