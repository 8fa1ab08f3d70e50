"""`${VARIABLES}` of device files: from the environment, into the keys that may hold them."""

import re
from collections.abc import Mapping
from pathlib import Path

from gateway.config.diagnostics import Diagnostics

# Of these keys, and no others, the value may come from the environment: they say where a device is, and who we are to
# it. Everything else is published, logged or shown.
CONNECTING = frozenset(
    {
        "host",
        "port",
        "serial",
        "endpoint",
        "username",
        "password",
        "password_file",
        "certificate",
        "key",
        "trust",
    }
)

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Variables:
    """Those of `environment` whose names begin with `prefix`."""

    def __init__(self, environment: Mapping[str, str], prefix: str, diagnostics: Diagnostics) -> None:
        self._environment = environment
        self._prefix = prefix
        self._diagnostics = diagnostics

    def fill(self, text: str, key: str | None, file: Path, line: int) -> str:
        """`text`, the value of `key`, with its variables; those that cannot be filled in are reported, and stay."""

        def value(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            if (fault := self._refused(match[1], key)) is not None:
                self._diagnostics.add(file, line, fault)
                self._diagnostics.unfilled(file, line, match[0])
                return match[0]
            found = self._environment[match[1]]
            self._diagnostics.hide(found, match[1])
            return found

        return _VARIABLE.sub(value, text)

    def _refused(self, name: str, key: str | None) -> str | None:
        if key not in CONNECTING:
            where = ", ".join(sorted(CONNECTING))
            return f"${{{name}}} cannot stand here, but only as the value of {where}; write $$ for a dollar"
        if not name.startswith(self._prefix):
            prefix = f"{self._prefix} (NEXUS_DEVICE_PREFIX)"
            return f"${{{name}}} is not for device files: their variables begin with {prefix}"
        if (found := self._environment.get(name)) is None:
            return f"the environment has no variable {name}: set it, or write $$ for a dollar"
        if not found.isprintable():
            return f"the variable {name} holds a line break, or other characters that are no text"
        return None
