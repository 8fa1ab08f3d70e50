"""Warns, once at the start, about connections that are not encrypted."""

import os
from ipaddress import ip_address
from urllib.parse import urlsplit

from nexus.process import log

_CHECKS = ("verify-ca", "verify-full")


def warn(broker_url: str, database_url: str | None = None) -> None:
    """Logs a warning for each connection to another host that the network between can read or impersonate."""
    say = log.get("security").warning
    broker = urlsplit(broker_url)
    if broker.scheme == "mqtt" and not _is_here(broker.hostname or ""):
        say("MQTT is not encrypted: the network can read passwords and readings; use mqtts://", broker=broker_url)
    if database_url is not None and (host := _unverified(database_url)):
        say("PostgreSQL's TLS is not verified: set sslmode=verify-full in the URL, or PGSSLMODE", host=host)


def _unverified(url: str) -> str | None:
    """The first host that is reached without `sslmode=verify-ca` or `verify-full`."""
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415  the gateway has no database

    given = conninfo_to_dict(url)
    if (given.get("sslmode") or os.environ.get("PGSSLMODE")) in _CHECKS:
        return None
    hosts = str(given.get("host") or os.environ.get("PGHOST") or "").split(",")
    return next((host for host in hosts if host and not _is_here(host)), None)


def _is_here(host: str) -> bool:
    """Whether there is no network between: this host, or the folder of a socket."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith(("/", "@"))
