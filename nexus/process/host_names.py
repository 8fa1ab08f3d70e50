"""The host names that a service answers to, as in a request's Host header."""

import ipaddress
import socket
from collections.abc import Iterable


class HostNames:
    """This machine's own names, and configured ones. An address is always accepted."""

    def __init__(self, others: Iterable[str]) -> None:
        self._names = {"localhost", socket.gethostname().lower(), *others}

    def is_ours(self, host: str) -> bool:
        """Whether a Host header names us."""
        name = host.lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.removesuffix(".") in self._names
        return True
