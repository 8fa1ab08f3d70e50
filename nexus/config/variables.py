"""`${VARIABLES}` of a file: from the environment, into the keys that may hold them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nexus.config.diagnostics import Diagnostics

_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Allowed:
    """Variables whose names begin with `prefix`, as the values of `keys`; `files` says of which files, and `setting`
    which setting changes the prefix."""

    prefix: str
    keys: frozenset[str]
    files: str
    setting: str = ""

    @property
    def described(self) -> str:
        """The prefix, and how to change it."""
        return f"{self.prefix} ({self.setting})" if self.setting else self.prefix


class Variables:
    """The variables of `environment` that are `allowed`."""

    def __init__(self, environment: Mapping[str, str], allowed: Allowed, diagnostics: Diagnostics) -> None:
        self._environment = environment
        self._allowed = allowed
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
        if not self._allowed.keys:
            return f"${{{name}}}: {self._allowed.files} have no variables; write $$ for a dollar"
        if key not in self._allowed.keys:
            where = ", ".join(sorted(self._allowed.keys))
            return f"${{{name}}} cannot stand here, but only as the value of {where}; write $$ for a dollar"
        if not name.startswith(self._allowed.prefix):
            return f"${{{name}}} is not for {self._allowed.files}: their variables begin with {self._allowed.described}"
        if (found := self._environment.get(name)) is None:
            return f"the environment has no variable {name}: set it, or write $$ for a dollar"
        if not found.isprintable():
            return f"the variable {name} holds a line break, or other characters that are no text"
        return None
