"""Connections to the database, and its errors translated into ours."""

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

# SQLSTATE classes that blame the data: data exception, integrity violation, program limit (a key too long).
_DATA_CLASSES = ("22", "23", "54")
_ROLLED_BACK = "40"  # a deadlock, or a conflict of serialisation
# Codes that blame the server, our rights or the schema: these pass, or get mended.
_OUTAGE_CLASSES = frozenset(("08", "25", "28", "3D", "3F", "42", "53", "55", "57", "58", "F0", "0L", "0P"))
_DAMAGED = ("XX001", "XX002")  # data or an index is corrupted


class DatabaseAwayError(Exception):
    """The database cannot be used now, but perhaps later. The text says why."""


class TooSlowError(DatabaseAwayError):
    """No answer in time: the database is away, or the batch is more than it can do in that time.

    `cancelled` is true if the server ended it, by a limit or for an administrator: that is no message's fault.
    """

    def __init__(self, text: str, *, cancelled: bool = False) -> None:
        super().__init__(text)
        self.cancelled = cancelled


class ClocksApartError(DatabaseAwayError):
    """Our clock is far from the database's: by which of them is a reading too old, or ahead?"""


class BatchRefusedError(Exception):
    """Something in the batch makes writing it fail, again and again. The text says how.

    `of_data` is true if the cause is certainly the data, and not the database.
    """

    def __init__(self, text: str, *, of_data: bool = False) -> None:
        super().__init__(text)
        self.of_data = of_data


def is_of_the_data(error: psycopg.Error) -> bool:
    """Whether the database refuses this data, and always will."""
    return (error.sqlstate or "")[:2] in _DATA_CLASSES


def is_rolled_back(error: psycopg.Error) -> bool:
    """Whether the database aborted the transaction in favour of another."""
    return (error.sqlstate or "")[:2] == _ROLLED_BACK


def outage(error: psycopg.Error) -> DatabaseAwayError | None:
    """Translates an error that the batch did not cause; without a code, the connection was lost."""
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.TransactionTimeout):
        return TooSlowError(explain(error), cancelled=True)
    if (code := error.sqlstate) is None:
        is_away = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    else:
        is_away = code[:2] in _OUTAGE_CLASSES or code in _DAMAGED or is_rolled_back(error)
    return DatabaseAwayError(explain(error)) if is_away else None


# The server too has to notice within half a minute that we are gone, or our locks would stay.
_SERVER_OPTIONS = " ".join(
    f"-c {name}={value}"
    for name, value in (
        ("tcp_keepalives_idle", 10),
        ("tcp_keepalives_interval", 5),
        ("tcp_keepalives_count", 3),
        ("tcp_user_timeout", 25_000),
        ("idle_in_transaction_session_timeout", 60_000),
        ("statement_timeout", 60_000),  # as long as a writer waits: the role's own limit may be shorter
        ("lock_timeout", 10_000),  # a statement that waits for a lock is not slow itself: the database counts as away
    )
)


async def connect(url: str, name: str = "nexus ingest") -> AsyncConnection:
    """A connection of that name, which notices a dead network within half a minute, on either side.

    Raises psycopg.OperationalError.
    """
    return await AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=5,
        application_name=name,
        client_encoding="utf8",  # otherwise texts of a database in SQL_ASCII come as bytes
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=25_000,
        options=f"{conninfo_to_dict(url).get('options', '')} {_SERVER_OPTIONS}",
    )


def explain(error: psycopg.Error) -> str:
    """The database's own words, and the remedy where it is known."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.UndefinedFunction):
        return f"{text}: run `nexus db migrate`"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"{text}: grant this user the role nexus_writer"
    return text
