// The plant at a glance: what is wrong, how fast readings flow, and every device by its path.
import { useEffect } from "preact/hooks";
import { useAsk } from "../api/ask";
import { devicesChanged, useLive } from "../api/live";
import { deviceAt, path } from "../router";
import { text } from "../text";
import { Missing, Status } from "../ui/messages";
import { DevicePanel } from "./plant/device";
import { Devices } from "./plant/devices";
import { Gateways } from "./plant/gateways";
import { EVERY_MS } from "./plant/last";
import { Numbers } from "./plant/numbers";
import { Wrong } from "./plant/wrong";

const EVERY_DEVICE = ["device:"];
const SETTLE_MS = 500;

export function Plant() {
  const answer = useAsk("devices", {}, EVERY_MS);
  const plant = answer.data;
  useLive(EVERY_DEVICE);
  useEffect(() => {
    if (!devicesChanged.value) return;
    const timer = setTimeout(answer.again, SETTLE_MS);
    return () => clearTimeout(timer);
  }, [devicesChanged.value]);
  const chosen = deviceAt(path.value);
  return (
    <>
      <h1>{text.plant.title}</h1>
      <Status of={answer} />
      {plant && (
        <>
          <Missing parts={plant.missing} />
          <Numbers plant={plant} />
          {chosen && <DevicePanel path={chosen} device={plant.items.find((one) => one.path === chosen)} />}
          <Wrong plant={plant} />
          <Devices devices={plant.items} chosen={chosen} />
          <Gateways plant={plant} />
        </>
      )}
    </>
  );
}
