"""Refused, unknown, unreachable and silent are told apart, whatever the error came in."""

import errno
import socket
from collections.abc import Callable

import pytest

from gateway.drivers import reach


def caused(error: BaseException) -> BaseException:
    """As libraries wrap it."""
    try:
        try:
            raise error
        except BaseException as inner:
            raise RuntimeError(f"Connection failed: {inner}") from inner
    except RuntimeError as outer:
        return outer


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "refused: "),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 111] …"), "refused: "),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unknown host: "),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "unreachable: "),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable: "),
        (TimeoutError(), "no answer in time: "),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), "no answer in time: "),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "it closed the connection at once: "),
        (OSError(errno.EMFILE, "Too many open files"), "this process has no file descriptors left"),
    ],
)
@pytest.mark.parametrize("wrapped", [lambda error: error, caused], ids=["itself", "wrapped"])
def test_each_is_told_apart(error: BaseException, said: str, wrapped: Callable[[BaseException], BaseException]) -> None:
    assert (reach.reason(wrapped(error)) or "").startswith(said)


def test_what_is_something_else_is_left_to_whoever_asks() -> None:
    assert reach.reason(ValueError("no")) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unknown-host"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "unreachable"),
        (TimeoutError(), "timeout"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "closed"),
        (OSError(errno.EMFILE, "Too many open files"), ""),
        (ValueError("no"), ""),
    ],
)
def test_each_has_a_kind_by_which_people_are_told_what_to_do(error: BaseException, kind: str) -> None:
    assert reach.kind(caused(error)) == kind
