"""How long a receiver, and one notification, waits after an attempt."""

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from console.notify.attempt import LONGEST_PAUSE, Kind, Outcome, is_away, pause_of, settled
from console.notify.message import Message
from console.notify.outbox import Pending

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def said(number: int, kind: Kind, pause: float | None = None, remaining: tuple[str, ...] | None = None) -> Outcome:
    one = Pending(number, cast(Message, None), 0, NOW + timedelta(days=1), remaining)
    return Outcome(one, kind, "", 0.1, pause)


@pytest.mark.parametrize(
    ("outcomes", "pause"),
    [
        ([said(1, "later", 3600), said(2, "later")], LONGEST_PAUSE),
        ([said(1, "later", 3600), said(2, "sent")], LONGEST_PAUSE),
        ([said(1, "later"), said(2, "sent")], 0),
    ],
)
def test_a_receiver_is_not_left_alone_for_long(outcomes: list[Outcome], pause: float) -> None:
    assert pause_of(outcomes, 1) == pause


def test_a_notification_waits_for_as_long_as_was_said_of_it() -> None:
    outcomes = [said(1, "later", 3600), said(2, "sent")]
    again, sent = settled(outcomes, pause_of(outcomes, 1), NOW)
    assert sent.state == "sent"
    assert again.due >= NOW + timedelta(hours=1)


def test_a_full_mailbox_is_no_reason_to_leave_the_receiver_alone() -> None:
    full = said(1, "later", remaining=("b@x",))
    assert pause_of([full], 1) == 0
    assert settled([full], 0, NOW)[0].remaining == ("b@x",)


def test_a_receiver_that_takes_nothing_is_away_whatever_it_has_in_part() -> None:
    full, later = said(1, "later", remaining=("b@x",)), said(2, "later")
    assert is_away([full, later])
    assert pause_of([full, later], 1) > 0
    assert not is_away([said(1, "sent", remaining=("b@x",)), later])
