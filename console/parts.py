"""What the console is made of, for its routes."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from console.access.access import Access
from console.access.outcomes import Outcomes
from console.database import Database
from console.historian.historian import Historian
from console.live.plant import Plant
from console.live.stored import StoredNow
from console.settings import Settings


@dataclass(frozen=True)
class Parts:
    """One of each; `app.state.parts` holds them."""

    settings: Settings
    database: Database
    historian: Historian
    access: Access
    plant: Plant
    stored: StoredNow
    outcomes: Outcomes


async def _parts(connection: HTTPConnection) -> Parts:
    parts: Parts = connection.app.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(_parts)]
