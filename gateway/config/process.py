"""Runs work on device files in a process of its own, bounded in memory, so that polling is not delayed."""

import asyncio
import gc
import os
import pickle
import resource
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from nexus.process.errors import ConfigError

MOST_MEMORY = 2 << 30  # bytes of address space
_SIZE = 4


class Job(Protocol):
    """What to do; the job and its answers can be pickled."""

    @property
    def path(self) -> Path:
        """The device files that it is about, for messages."""

    def answers(self) -> Iterator[object]:
        """Does it, in the other process."""


async def run(job: Job) -> AsyncIterator[bytes]:
    """The answers, each pickled. Raises ConfigError when the process fails."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "gateway.config.process", stdin=pipe, stdout=pipe, stderr=pipe
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


def main(source: BinaryIO, target: BinaryIO) -> None:
    """The other process: a job comes in, answers go out, each after its size."""
    gc.disable()  # the process ends soon
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    job: Job = pickle.loads(source.read())  # noqa: S301  from the gateway
    for answer in job.answers():
        frame = pickle.dumps(answer)
        target.write(len(frame).to_bytes(_SIZE, "big") + frame)
    target.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
