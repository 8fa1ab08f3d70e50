"""The files of the demo, and whose rows they promise."""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from gateway.config import devices
from ingestion.rules.files import load

SIMULATION, DEVICES, RULES = "plant.yaml", "devices.yaml", "rules.yaml"
_PORT = re.compile(r"(?<=:|\s)(?:5020|4840|10102)\b")


class Source(NamedTuple):
    """A device, or a rule across devices."""

    name: str
    path: str
    protocol: str


def written(folder: Path, ports: Mapping[int, int]) -> tuple[Source, ...]:
    """Writes those that are not there, with these ports in place of their own; gives what they describe."""
    for names in ((SIMULATION, DEVICES), (RULES,)):
        if all((folder / name).exists() for name in names):  # with --keep somebody may have changed them
            continue
        for name in names:
            text = (files("simulators") / "demo" / name).read_text(encoding="utf-8")
            # All at once: a free port may begin with the digits of another one that is to be replaced.
            text = _PORT.sub(lambda found: str(ports[int(found[0])]), text)
            (folder / name).write_text(text, encoding="utf-8")
    of_devices = [one.device for one in devices.load(folder / DEVICES)]
    return (
        *(Source(one.name, one.path, one.protocol) for one in of_devices),
        *(Source(rule.name, rule.path, "rules") for rule in load(folder / RULES)),
    )
