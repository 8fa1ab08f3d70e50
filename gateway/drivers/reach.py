"""Why a host cannot be reached: the causes told apart, each with what to check."""

import errno
import re
import socket

from nexus.contract.status import TroubleKind

_NUMBER = re.compile(r"\[Errno (-?\d+)\]")

_REFUSED = "refused: the host is there, but nothing listens on that port; is the port right, and the service on?"
_UNREACHABLE = "unreachable: is it on, and is there a route from this machine to its network?"
_SILENT = "no answer in time: is it on, and does a firewall drop our packets?"
_CLOSED = "it closed the connection at once: does it have one free, and is the protocol right?"
_UNKNOWN = "unknown host: is the name right, and does this machine's DNS know it?"
_BY_NUMBER = {
    errno.ECONNREFUSED: _REFUSED,
    errno.EHOSTUNREACH: _UNREACHABLE,
    errno.ENETUNREACH: _UNREACHABLE,
    errno.EHOSTDOWN: _UNREACHABLE,
    errno.ETIMEDOUT: _SILENT,
    errno.ECONNRESET: _CLOSED,
    errno.EPIPE: _CLOSED,
    errno.EACCES: "not permitted: a firewall of this machine forbids it",
    errno.EPERM: "not permitted: a firewall of this machine forbids it",
    errno.EMFILE: "this process has no file descriptors left: raise its limit (ulimit -n)",
    errno.ENFILE: "this machine has no file descriptors left",
}
_KINDS: dict[str | None, TroubleKind] = {
    _REFUSED: "refused",
    _UNREACHABLE: "unreachable",
    _SILENT: "timeout",
    _CLOSED: "closed",
    _UNKNOWN: "unknown-host",
}


def reason(error: BaseException) -> str | None:
    """What kept a connection from being made, by the error or what it came from; None if that was something else."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, socket.gaierror):
            return _UNKNOWN
        if isinstance(seen, OSError) and (found := _BY_NUMBER.get(_number(seen))) is not None:
            return found
        if isinstance(seen, TimeoutError):
            return _SILENT
        seen = seen.__cause__ or seen.__context__
    return None


def kind(error: BaseException) -> TroubleKind:
    """Of which kind that is."""
    return _KINDS.get(reason(error), "")


def _number(error: OSError) -> int:
    """The error number; for several addresses, asyncio joins the errors in one text without numbers."""
    if error.errno is not None:
        return error.errno
    return int(match[1]) if (match := _NUMBER.search(str(error))) else 0
