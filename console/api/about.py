"""What runs here."""

import platform

from fastapi import APIRouter
from pydantic import BaseModel

from console.access.door import Viewer
from nexus.process import version

router = APIRouter(tags=["about"])


class About(BaseModel):
    """Versions."""

    version: str
    python: str


@router.get("/about")
async def about(_: Viewer) -> About:
    """What runs here."""
    return About(version=version.program(), python=platform.python_version())
