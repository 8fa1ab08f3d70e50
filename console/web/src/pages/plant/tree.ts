// Devices as a tree by their paths.
import type { Device, DeviceState } from "../../api/types";

export interface Branch {
  path: string;
  name: string;
  branches: Branch[];
  devices: Device[];
  count: number;
  worst: DeviceState;
}

const RANK: Record<DeviceState, number> = { online: 0, unknown: 1, degraded: 2, offline: 3 };

export const STATES = ["online", "degraded", "offline", "unknown"] as const;
export const worse = (a: DeviceState, b: DeviceState) => (RANK[b] > RANK[a] ? b : a);
export const isWrong = (device: Device) => device.state !== "online";
export const worstFirst = (a: Device, b: Device) => RANK[b.state] - RANK[a.state] || a.path.localeCompare(b.path);

/** Folders with a single folder inside and nothing else are shown as one: `plant/line1`. */
export function tree(devices: readonly Device[]): Branch {
  const root: Branch = branch("", "");
  for (const device of devices) {
    const parts = device.path.split("/");
    let at = root;
    for (const [depth, part] of parts.slice(0, -1).entries()) {
      let next = at.branches.find((one) => one.name === part);
      if (!next) at.branches.push((next = branch(parts.slice(0, depth + 1).join("/"), part)));
      at = next;
    }
    at.devices.push(device);
  }
  settle(root);
  return root;
}

function branch(path: string, name: string): Branch {
  return { path, name, branches: [], devices: [], count: 0, worst: "online" };
}

function settle(at: Branch): void {
  for (const [index, below] of at.branches.entries()) {
    settle(below);
    const only = below.branches[0];
    if (only && below.branches.length === 1 && !below.devices.length) {
      at.branches[index] = { ...only, name: `${below.name}/${only.name}` };
    }
  }
  at.branches.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  at.devices.sort((a, b) => a.path.localeCompare(b.path, undefined, { numeric: true }));
  at.count = at.devices.length + at.branches.reduce((sum, one) => sum + one.count, 0);
  for (const device of at.devices) at.worst = worse(at.worst, device.state);
  for (const below of at.branches) at.worst = worse(at.worst, below.worst);
}
