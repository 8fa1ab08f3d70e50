"""The state of a device: online, degraded or offline, and why; published on each change."""

from collections.abc import Callable, Mapping

from gateway.drivers.driver import Device
from nexus.contract.reading import Reading
from nexus.contract.status import State, Status, TroubleKind
from nexus.process import log
from nexus.process.clock import now_ms

OnStatus = Callable[[str, Status], None]


class DeviceStatus:
    """Publishes and logs each change of one device's state."""

    def __init__(self, device: Device, on_status: OnStatus) -> None:
        self._device = device
        self._on_status = on_status
        self._bad: set[str] = set()
        self._last: tuple[State, str] | None = None
        self._log = log.get("poller").bind(device=device.name)

    @property
    def reason(self) -> str:
        """Why the device is not online; empty if it is."""
        return self._last[1] if self._last else "not connected yet"

    def read(
        self,
        readings: list[Reading],
        bad: list[str],
        tag_errors: Mapping[str, str],
        tag_kinds: Mapping[str, TroubleKind],
    ) -> None:
        """The device answered, except for the tags in `bad`; `tag_errors` and `tag_kinds` say why, where known."""
        if self._bad:
            self._bad.difference_update(reading.tag for reading in readings)
        elif not bad and self._last and self._last[0] == "online":
            return
        self._bad.update(bad)
        if self._bad:
            named = (f"{tag} ({tag_errors[tag]})" if tag in tag_errors else tag for tag in sorted(self._bad)[:3])
            some = ", ".join(named) + (" …" if len(self._bad) > 3 else "")
            kinds = {tag_kinds.get(tag, "") for tag in self._bad}
            kind = kinds.pop() if len(kinds) == 1 else ""
            said = f"{len(self._bad)} of {len(self._device.tags)} tags cannot be read: {some}"
            self._publish("degraded", said, kind or "tags")
        else:
            self._publish("online", "")

    def failed(self, reason: str, kind: TroubleKind = "", *, resting: bool) -> None:
        """The device did not answer; `resting` while its breaker is open."""
        self._publish("offline" if resting else "degraded", reason, kind)

    def broken(self, error: Exception) -> None:
        """The driver failed: logs its traceback, once an outage."""
        if self._last is None or self._last[0] == "online":
            self._log.error("the driver failed", exc_info=error)

    def _publish(self, state: State, reason: str, kind: TroubleKind = "") -> None:
        """Publishes a change; a new reason of an offline device is none."""
        if self._last == (state, reason) or (state == "offline" and self._last and self._last[0] == "offline"):
            return
        was, self._last = self._last, (state, reason)
        self._on_status(self._device.path, Status(state, reason, now_ms(), kind))
        if was is None or was[0] != state:
            (self._log.info if state == "online" else self._log.warning)(f"device {state}", reason=reason or None)
