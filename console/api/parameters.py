"""What several routes are asked with."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, Field

from console.historian import times
from console.problems import Problem

_HOUR = timedelta(hours=1)


def _text(text: str) -> str:
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("holds a character that the database cannot")
    return text


Text = Annotated[str, AfterValidator(_text)]
Topic = Annotated[Text, Field(min_length=1, max_length=2_000, examples=["dev/plant/line1/plc001/temperature"])]
QualityName = Literal["good", "uncertain", "bad"]
Moment = Annotated[AwareDatetime, AfterValidator(times.utc)]
From = Annotated[Moment | None, Query(alias="from", description="RFC 3339. An hour before `to`, if it is not given")]
FromYesterday = Annotated[
    Moment | None, Query(alias="from", description="RFC 3339. 24 hours before `to`, if it is not given")
]
To = Annotated[Moment | None, Query(description="RFC 3339; the range ends before it. Now, if it is not given")]


def span(start: datetime | None, end: datetime | None) -> tuple[datetime, datetime, datetime]:
    """The range asked for, and what is now. Raises Problem."""
    now = datetime.now(UTC)
    try:
        return *times.span(start, end, now, _HOUR), now
    except ValueError as error:
        raise Problem(422, "The request is not valid", str(error)) from None
