"""Checks changed device files in a process of its own: they cost the polling no time and no memory."""

import asyncio
import gc
import os
import pickle
import resource
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from gateway import drivers
from gateway.config import device_files
from gateway.config import devices as config
from gateway.config.devices import ConfiguredDevice
from gateway.config.shared_tags import SharedTags
from nexus.process.errors import ConfigError

MOST_SECONDS = 120.0
MOST_MEMORY = 2 << 30  # bytes of address space
_TAGS_AT_ONCE = 50  # what is taken from the other process without a pause, about a millisecond
_SIZE = 4

Parts = tuple[Any, ...]


@dataclass(frozen=True)
class Job:
    """What to load, where to keep it if it is good, and what is known already, by device path."""

    path: Path
    prefix: str
    kept: Path | None
    known: dict[str, bytes]


class Loader:
    """Loads again and again; devices of which the files say the same stay the same objects."""

    def __init__(self, path: Path, prefix: str, kept: Path | None) -> None:
        self._path = path
        self._prefix = prefix
        self._kept = kept

    async def load(self, current: tuple[ConfiguredDevice, ...]) -> tuple[ConfiguredDevice, ...]:
        """The devices as the files say now. Raises ConfigError, whatever went wrong."""
        known = {one.device.path: one for one in current}
        job = Job(self._path, self._prefix, self._kept, {path: one.digest for path, one in known.items()})
        found: list[ConfiguredDevice] = []
        shared = SharedTags()
        try:
            async with asyncio.timeout(MOST_SECONDS):
                async for frame in _frames(job):
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
        device, breaker, publish_options, digest = pickle.loads(packed)  # noqa: S301  likewise
        device = replace(device, tags=shared.of(device.tags))
        found.append(ConfiguredDevice(device, driver, breaker, publish_options, digest))
    await asyncio.sleep(0)
    return found


async def _frames(job: Job) -> AsyncIterator[bytes]:
    """What the other process sends. Raises ConfigError when it fails."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "gateway.config.loader", stdin=pipe, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise ConfigError(f"{job.path}: cannot be checked now: no process can be started: {error.strerror}") from None
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdin.write(pickle.dumps(job))
        process.stdin.close()
        with suppress(asyncio.IncompleteReadError):
            while True:
                size = int.from_bytes(await process.stdout.readexactly(_SIZE), "big")
                yield await process.stdout.readexactly(size)
        stderr = (await process.stderr.read()).decode(errors="replace").strip().splitlines()
        if await process.wait() != 0:
            reason = stderr[-1] if stderr else f"exit code {process.returncode}"
            raise ConfigError(f"{job.path}: cannot be checked: {reason:.300}; is there enough memory?")
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _answers(job: Job) -> Iterator[object]:
    """The devices, some at a time; or a text, which says what is wrong."""
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
            packed = pickle.dumps((device, one.breaker, one.publish_options, one.digest))
            some.append((device.path, device.protocol, packed))
            tags += len(device.tags)
        if tags >= _TAGS_AT_ONCE:
            yield some
            some, tags = [], 0
    yield some
    if job.kept is not None:
        with suppress(OSError):  # logged at the start, where it matters
            device_files.keep(files, job.kept)


def main(source: BinaryIO, target: BinaryIO) -> None:
    """The other process: a job comes in, answers go out, each after its size."""
    gc.disable()  # it ends soon
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    job = pickle.loads(source.read())  # noqa: S301  from the gateway
    for answer in _answers(job):
        frame = pickle.dumps(answer)
        target.write(len(frame).to_bytes(_SIZE, "big") + frame)
    target.flush()


if __name__ == "__main__":
    # By its name: what is pickled here is looked for there.
    import_module("gateway.config.loader").main(sys.stdin.buffer, sys.stdout.buffer)
