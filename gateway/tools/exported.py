"""`nexus export`: the tags of device files as a spreadsheet, which `nexus import` takes back without loss."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gateway.config import devices as config
from gateway.config.variables import CONNECTING
from gateway.tools import sheet
from gateway.tools.imported import OF_DEVICE
from nexus.config.derived import is_derived

TAG_COLUMNS = (
    "name", "address", "unit", "scale", "offset", "interval", "on_change", "deadband", "max_silence", "writable", "min",
    "max", "word_order", "byte_order",
)  # fmt: skip
_NOT_OF_DEVICE = ("name", "tags", "template", "alarms")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_STAND_IN = re.compile("⟦([A-Za-z0-9_]+)⟧")


def exported(path: Path, prefix: str, separator: sheet.Separator) -> tuple[str, list[str]]:
    """A row for each tag, with its device's keys beside it; and what is left out. Raises ConfigError as `load` does.

    Templates are filled in, and variables are not: `${DEVICE_HOST}` stays as it stands in the file.
    """
    files, _ = config.read(path, prefix=prefix)
    names = {name for text in files.values() for name in _VARIABLE.findall(text.decode("utf-8-sig"))}
    devices = config.described(files, {name: f"⟦{name}⟧" for name in names}, prefix)
    columns: dict[str, None] = {}
    lines: list[dict[str, Any]] = []
    remarks: list[str] = []
    for raw in devices:
        own = dict(_flattened(raw))
        if (secret := own.get("password")) is not None and not _STAND_IN.search(str(secret)):
            del own["password"]
            remarks.append(f"{raw['name']}: the password is left out: a spreadsheet is no place for it")
        cells = {OF_DEVICE + key: _shown(key, value) for key, value in own.items()}
        columns.update(dict.fromkeys(cells))
        lines += [{"device": raw["name"], **cells, **tag} for tag in raw["tags"] if not is_derived(tag)]
        remarks += _left_out(raw)
    return sheet.written(("device", *TAG_COLUMNS, *columns), lines, separator), remarks


def _left_out(raw: Mapping[str, Any]) -> Iterator[str]:
    """What has no columns."""
    tags = raw["tags"]
    if derived := [tag["name"] for tag in tags if is_derived(tag)]:
        yield f"{raw['name']}: derived tags are left out: {', '.join(derived)}"
    if alarms := sum(len(one.get("alarms", ())) for one in (raw, *tags)):
        yield f"{raw['name']}: its {alarms} alarms are left out"


def _flattened(raw: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The device's keys, those within others with a dot between."""
    for key, value in raw.items():
        if isinstance(value, dict):
            yield from _flattened(value, f"{before}{key}.")
        elif before or key not in _NOT_OF_DEVICE:
            yield f"{before}{key}", value


def _shown(key: str, value: Any) -> Any:
    """What connects is shown as it stands in the file, for its variables."""
    if not isinstance(value, str) or key.rpartition(".")[2] not in CONNECTING:
        return value
    return _STAND_IN.sub(r"${\1}", value.replace("$", "$$"))
