"""One attempt to send, and what its outcome means for the next. Deciding is pure."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic
from typing import Literal

from console.notify.channels import sending
from console.notify.channels.outcome import LaterError, PartlyError, RefusedError, short
from console.notify.channels.sending import Channel, Means
from console.notify.outbox import Attempt, Pending
from nexus.process import backoff, supervisor

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 300.0  # between attempts of one notification
LONGEST_PAUSE = 30.0  # between attempts at a receiver that takes nothing, and of one notification to it


Kind = Literal["sent", "partly", "refused", "later"]


@dataclass(frozen=True)
class Outcome:
    """What a receiver said to one; `pause` is what it asked for, in seconds. Of a mail that is taken partly, `later`
    may get it later, and `refused` never."""

    pending: Pending
    kind: Kind
    answer: str
    seconds: float
    pause: float | None = None
    later: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()


async def attempt(channel: Channel, one: Pending, means: Means) -> Outcome:
    """Sends one, with a deadline. Raises nothing but its cancellation."""
    began = monotonic()

    def outcome(kind: Kind, answer: str, pause: float | None = None) -> Outcome:
        return Outcome(one, kind, short(answer), monotonic() - began, pause)

    try:
        async with asyncio.timeout(sending.deadline(channel)):
            return outcome("sent", await sending.send(channel, one.message, means))
    except RefusedError as error:
        return outcome("refused", str(error))
    except LaterError as error:
        return outcome("later", str(error), error.seconds)
    except PartlyError as error:
        return replace(outcome("partly", str(error)), later=error.later, refused=error.refused)
    except TimeoutError:
        return outcome("later", "no answer in time")
    except Exception as error:
        supervisor.failed("peer", f"notification by {sending.name_of(channel)}", error)
        return outcome("later", repr(error))


def is_away(outcomes: Sequence[Outcome]) -> bool:
    """Whether the receiver took nothing. A mail that some have tells nothing by itself: mailboxes may be full."""
    is_told = any(one.pending.remaining is None for one in outcomes)
    return is_told and all(one.kind == "later" for one in outcomes)


def pause_of(outcomes: Sequence[Outcome], failures: int) -> float:
    """Seconds to leave the receiver alone: as it asked for, or if it took nothing, after `failures` in a row.

    That is `LONGEST_PAUSE` at most: what a receiver said of one, it need not mean of the others.
    """
    if asked := [one.pause for one in outcomes if one.pause is not None]:
        return min(max(asked), LONGEST_PAUSE)
    return backoff.delay(failures, FIRST_SECONDS, LONGEST_PAUSE) if is_away(outcomes) else 0.0


def settled(outcomes: Sequence[Outcome], pause: float, now: datetime) -> list[Attempt]:
    """What is recorded. One that is not taken waits longer than the receiver pauses: others come first."""
    longest = LONGEST_PAUSE if is_away(outcomes) else LONGEST_SECONDS
    return [_settled(one, pause, now, longest) for one in outcomes]


def _settled(one: Outcome, pause: float, now: datetime, longest: float) -> Attempt:
    waits = max(pause, one.pause or 0.0) + backoff.delay(one.pending.attempts + 1, FIRST_SECONDS, longest)
    again = Attempt(
        one.pending.id,
        "pending",
        now + timedelta(seconds=waits),
        one.answer,
        one.seconds,
        one.pending.remaining,
        one.pending.refused,
    )
    if one.kind == "sent":
        # Somebody was refused before: for them it is dead.
        left = one.pending.refused or None
        return replace(again, state="dead" if left else "sent", due=now, remaining=left)
    is_over = now >= one.pending.expires
    if one.kind == "partly":
        refused = one.pending.refused + one.refused
        again = replace(again, remaining=one.later + refused, refused=refused)
        is_over = is_over or not one.later
    if one.kind == "refused" or is_over:
        return replace(again, state="dead", due=now)
    return again
