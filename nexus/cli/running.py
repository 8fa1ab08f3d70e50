"""How a command runs: its log, and a tool's work with one device."""

import sys
from collections.abc import Coroutine


def configure_log(service: str) -> None:
    """Logs as the environment says."""
    from nexus.process import log, settings

    process = settings.load(settings.Process)
    log.configure(service, process.log_level, process.log_format)


def once(work: Coroutine[object, object, list[str]]) -> int:
    """Does a tool's work and prints what it gives; 1 when the device is not to be had."""
    import asyncio

    from gateway.drivers.driver import DeviceError, WriteError
    from nexus.process import log

    log.configure("tool", "warning", "console")
    try:
        print("\n".join(asyncio.run(work)))
    except (DeviceError, WriteError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
