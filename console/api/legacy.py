"""Where the first version of the API was: readings at /api/data, and metrics beside them."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from console import metrics
from console.access.door import Viewer
from console.api import answers
from console.api import data as posted
from console.api.parameters import From, QualityName, To, Topic, span
from console.historian import history
from console.parts import PartsDep

router = APIRouter(tags=["legacy"])


class Row(BaseModel):
    """A reading."""

    time: str
    topic: str
    value: float | str | None
    quality: QualityName
    unit: str | None


@router.get("/api/data", response_model=list[Row], responses=answers.LINES)
async def data(
    request: Request,
    _: Viewer,
    parts: PartsDep,
    *,
    topic: Topic,
    from_: From = None,
    to: To = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1_000,
) -> Response:
    """The newest readings of a tag in a range, oldest first; new programs ask /api/v1/history."""
    start, end, _now = span(from_, to)
    async with parts.database.connection() as connection:
        rows = await history.newest(connection, topic, start, end, limit)
    return answers.rows(request, rows)


router.add_api_route("/api/data", posted.data, methods=["POST"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def page(_: Viewer) -> Response:
    """The console's metrics, as on its health port."""
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)
