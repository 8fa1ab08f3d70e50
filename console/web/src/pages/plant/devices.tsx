// Every device, in the tree of their paths.
import { useMemo, useState } from "preact/hooks";
import type { Device } from "../../api/types";
import { count, duration } from "../../format";
import { go, query, to, toDevice } from "../../router";
import { text } from "../../text";
import { Icon } from "../../ui/icon";
import { Empty } from "../../ui/messages";
import { Prose } from "../../ui/prose";
import { State } from "../../ui/state";
import { LastReading } from "./last";
import { isWrong, STATES, tree, type Branch } from "./tree";

const OPEN_BELOW = 60; // a bigger plant opens what is wrong only

export function Devices({ devices, chosen }: { devices: readonly Device[]; chosen: string }) {
  const [filter, setFilter] = useState("");
  const state = query.value.get("state") ?? "";
  const { head } = text.plant;
  const shown = useMemo(() => devices.filter(matches(filter, state)), [devices, filter, state]);
  const root = useMemo(() => tree(shown), [shown]);
  if (!devices.length) return <Empty title={text.plant.noDevices} detail={<Prose of={text.plant.noDevicesDetail} />} />;
  return (
    <section aria-labelledby="devices">
      <div class="bar">
        <h2 id="devices">
          {text.plant.devices} <span class="tally">{count(shown.length)}</span>
        </h2>
        <input
          type="search"
          value={filter}
          placeholder={text.plant.filter}
          aria-label={text.plant.filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
        <select
          aria-label={head.state}
          value={state}
          onChange={(event) => go(to("/plant", { state: event.currentTarget.value }), true)}
        >
          <option value="">{text.plant.everyState}</option>
          <option value="wrong">{text.plant.onlyWrong}</option>
          {STATES.map((one) => (
            <option key={one} value={one}>
              {text.plant.state[one]}
            </option>
          ))}
        </select>
      </div>
      {!shown.length && <p class="dim">{text.plant.noneOfThese}</p>}
      <div class="scroll" tabIndex={0} hidden={!shown.length}>
        <table class="rows tree">
          <thead>
            <tr>
              <th>{head.device}</th>
              <th>{head.state}</th>
              <th class="wide">{head.protocol}</th>
              <th class="wide">{head.endpoint}</th>
              <th class="num wide">{head.interval}</th>
              <th class="num">{head.tags}</th>
              <th class="num">{head.last}</th>
              <th class="wide">{head.gateway}</th>
            </tr>
          </thead>
          <tbody>
            <Below of={root} depth={0} all={shown.length <= OPEN_BELOW || filter !== "" || state !== ""} chosen={chosen} />
          </tbody>
        </table>
      </div>
    </section>
  );
}

function matches(filter: string, state: string) {
  const words = filter.toLowerCase().split(/\s+/);
  return (device: Device) => {
    if (state === "wrong" ? !isWrong(device) : state && device.state !== state) return false;
    const all = [device.path, device.protocol, device.endpoint, device.reason].join(" ").toLowerCase();
    return words.every((word) => all.includes(word));
  };
}

interface Shown {
  depth: number;
  all: boolean;
  chosen: string;
}

function Below({ of, ...shown }: { of: Branch } & Shown) {
  return (
    <>
      {of.branches.map((branch) => (
        <Folder key={branch.path} of={branch} {...shown} />
      ))}
      {of.devices.map((device) => (
        <Row key={device.path} of={device} {...shown} />
      ))}
    </>
  );
}

function Folder({ of, depth, all, chosen }: { of: Branch } & Shown) {
  const [choice, setChoice] = useState<boolean>();
  const open = choice ?? (all || of.worst !== "online" || chosen.startsWith(`${of.path}/`));
  return (
    <>
      <tr class="folder">
        <th scope="row" class={`depth-${Math.min(depth, 8)}`}>
          <button class="quiet" aria-expanded={open} onClick={() => setChoice(!open)}>
            <Icon name="chevron" /> {of.name}
          </button>
        </th>
        <td>
          <State of={of.worst} brief />
        </td>
        <td class="dim" colSpan={6}>
          {text.plant.count(of.count)}
        </td>
      </tr>
      {open && <Below of={of} depth={depth + 1} all={all} chosen={chosen} />}
    </>
  );
}

function Row({ of, depth, chosen }: { of: Device } & Shown) {
  return (
    <tr class={of.path === chosen ? "chosen" : ""}>
      <th scope="row" class={`depth-${Math.min(depth, 8)}`}>
        <a href={toDevice(of.path)} title={of.name}>
          {of.path.split("/").at(-1)}
        </a>
      </th>
      <td>
        <State of={of.state} />
      </td>
      <td class="wide">{of.protocol ?? "–"}</td>
      <td class="wide">
        <code>{of.endpoint ?? "–"}</code>
      </td>
      <td class="num wide">{duration(of.interval)}</td>
      <td class="num">
        <a href={to("/tags", { device: of.path })}>{count(of.tags)}</a>
      </td>
      <td class="num">
        <LastReading of={of} />
      </td>
      <td class="wide">{of.gateway ?? "–"}</td>
    </tr>
  );
}
