"""Checks changed device files in a process of its own: they cost the polling no time and no memory."""

import asyncio
import pickle
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway import drivers
from gateway.config import device_files, process
from gateway.config import devices as config
from gateway.config.devices import ConfiguredDevice
from gateway.config.shared_tags import SharedTags
from nexus.process.errors import ConfigError

MOST_SECONDS = 120.0
_TAGS_AT_ONCE = 50  # taken from the other process without a pause: about a millisecond of work

Parts = tuple[Any, ...]


@dataclass(frozen=True)
class LoadJob:
    """What to load, where to keep it if it is good, and what is known already, by device path."""

    path: Path
    prefix: str
    kept: Path | None
    known: dict[str, bytes]

    def answers(self) -> Iterator[object]:
        """Batches of devices; or a text that says what is wrong."""
        return _answers(self)


class Loader:
    """Loads device files; devices that have not changed stay the same objects."""

    def __init__(self, path: Path, prefix: str, kept: Path | None) -> None:
        self._path = path
        self._prefix = prefix
        self._kept = kept

    async def load(self, current: tuple[ConfiguredDevice, ...]) -> tuple[ConfiguredDevice, ...]:
        """The devices as in the files now. Raises ConfigError, whatever went wrong."""
        known = {one.device.path: one for one in current}
        job = LoadJob(self._path, self._prefix, self._kept, {path: one.digest for path, one in known.items()})
        found: list[ConfiguredDevice] = []
        shared = SharedTags()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                async for frame in process.run(job):
                    found += await _taken(frame, known, shared)
        except TimeoutError:
            raise ConfigError(f"{self._path}: cannot be checked within {MOST_SECONDS:g} s: use templates") from None
        return tuple(found)


async def _taken(frame: bytes, known: Mapping[str, ConfiguredDevice], shared: SharedTags) -> list[ConfiguredDevice]:
    content = pickle.loads(frame)  # noqa: S301  from our own process
    if isinstance(content, str):
        raise ConfigError(content)
    found = []
    for path, protocol, packed in content:
        if packed is None:
            found.append(known[path])
            continue
        # Importing a driver takes half a second: not here, where devices are polled.
        if not drivers.is_loaded(protocol):
            await asyncio.to_thread(drivers.load, protocol)
        driver = drivers.load(protocol)
        device, breaker, publish_options, derived, alarms, digest = pickle.loads(packed)  # noqa: S301  likewise
        device = replace(device, tags=shared.of(device.tags))
        more = shared.of(derived), shared.of(alarms)
        found.append(ConfiguredDevice(device, driver, breaker, publish_options, *more, digest))
    await asyncio.sleep(0)
    return found


def _answers(job: LoadJob) -> Iterator[object]:
    """The devices, some at a time; or a text that says what is wrong."""
    try:
        files, configured = config.read(job.path, prefix=job.prefix)
    except ConfigError as error:
        yield str(error)
        return
    some: list[Parts] = []
    tags = 0
    for one in configured:
        device = one.device
        if job.known.get(device.path) == one.digest:
            some.append((device.path, device.protocol, None))
            tags += 1
        else:
            # Modules cannot be pickled: without its driver.
            packed = pickle.dumps((device, one.breaker, one.publish_options, one.derived, one.alarms, one.digest))
            some.append((device.path, device.protocol, packed))
            tags += len(device.tags) + len(one.derived) + len(one.alarms)
        if tags >= _TAGS_AT_ONCE:
            yield some
            some, tags = [], 0
    yield some
    if job.kept is not None:
        with suppress(OSError):  # logged at the start, where it matters
            device_files.keep(files, job.kept)
