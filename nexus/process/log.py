"""Structured logs: one JSON line an event, or readable lines on a terminal."""

import logging
import sys

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from nexus.process.lines import standard_error

Log = FilteringBoundLogger

_THIRD_PARTY_LEVEL = logging.WARNING


def configure(service: str, level: str, fmt: str) -> None:
    """Sets up this process's log on standard error; the libraries' own lines join it from WARNING up."""

    def named(_: object, __: str, event: EventDict) -> EventDict:  # in threads, too, which have no context of ours
        event["service"] = service
        return event

    shared: list[Processor] = [
        named,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    last: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if fmt == "json"
        # Plain tracebacks: rich ones print local variables, and passwords are among them.
        else [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    )
    lines = standard_error()
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(lines),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
        )
    )
    logging.basicConfig(level=_THIRD_PARTY_LEVEL, handlers=[handler], force=True)


def get(name: str) -> Log:
    """A logger whose events carry the part of the service that they come from."""
    log: Log = structlog.get_logger(part=name)
    return log
