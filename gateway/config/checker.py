"""Checks device files that are not on disk yet, as `nexus check` does, in a process of its own."""

import asyncio
import difflib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.config import devices as config
from gateway.config import process
from gateway.config.device_files import Files
from nexus.config.diagnostics import Diagnostics
from nexus.contract.device_files import Problem
from nexus.process.errors import ConfigError

MOST_SECONDS = 30.0


@dataclass(frozen=True)
class CheckJob:
    """What to check, and two texts of each file to compare."""

    path: Path
    prefix: str
    files: Files
    compared: dict[str, tuple[str, str]]

    def answers(self) -> Iterator[object]:
        """What is wrong, then what differs."""
        yield problems(self.files, self.path, self.prefix)
        yield diff(self.compared)


async def checked(
    path: Path, prefix: str, files: Files, compared: dict[str, tuple[str, str]]
) -> tuple[tuple[Problem, ...], str]:
    """What is wrong with the files, and the differences as a unified diff. Raises ConfigError if it takes too long."""
    try:
        async with asyncio.timeout(MOST_SECONDS):
            answers = [one async for one in process.run(CheckJob(path, prefix, files, compared))]
    except TimeoutError:
        raise ConfigError(f"{path}: cannot be checked within {MOST_SECONDS:g} s: use templates") from None
    found, differences = map(pickle.loads, answers)  # from our own process
    return found, differences


def problems(files: Files, path: Path, prefix: str) -> tuple[Problem, ...]:
    """Errors and warnings, by file and line."""
    diagnostics, told = Diagnostics(), ""
    if not files:
        return (Problem("", None, "no device file would be left", "error"),)
    try:
        config.build(files, path, prefix=prefix, diagnostics=diagnostics)
    except ConfigError as error:
        told = str(error)
    found = [Problem(one.file.name, one.line, one.message, "error") for one in diagnostics]
    if told and not found:
        found.append(Problem(next(iter(files)).name, None, told, "error"))
    found += [Problem(one.file.name, one.line, one.message, "warning") for one in diagnostics.warnings]
    return tuple(found)


def diff(compared: dict[str, tuple[str, str]]) -> str:
    """A unified diff; an empty text is no file."""
    lines: list[str] = []
    for name, (before, after) in sorted(compared.items()):
        names = (f"a/{name}" if before else "/dev/null", f"b/{name}" if after else "/dev/null")
        some = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="")
        lines += some
    return "".join(f"{line}\n" for line in lines)
