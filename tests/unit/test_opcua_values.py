"""Which clock is believed for a value that holds on."""

from datetime import UTC, datetime, timedelta

import pytest
from asyncua import ua

from gateway.drivers.opcua_values import Clock, server_time

NOW = datetime(2026, 7, 1, tzinfo=UTC)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


@pytest.mark.parametrize(
    ("clock", "said", "expected"),
    [
        ("source", NOW - timedelta(seconds=9), NOW - timedelta(seconds=9)),
        ("server", (NOW - timedelta(seconds=9)).replace(tzinfo=None), NOW - timedelta(seconds=9)),
        ("source", NOW + timedelta(days=5000), NOW),
        ("server", datetime(1970, 1, 1, tzinfo=UTC), NOW),
        ("source", None, NOW),
        ("gateway", NOW - timedelta(seconds=9), NOW),
    ],
)
def test_a_server_whose_clock_cannot_be_right_is_not_asked_for_the_time(
    clock: Clock, said: datetime | None, expected: datetime
) -> None:
    data = ua.DataValue(ua.Variant(1.0), ServerTimestamp=said)  # type: ignore[arg-type]
    assert server_time(data, clock, ms(NOW)) == ms(expected)
