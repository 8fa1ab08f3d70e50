"""What runs here."""

import asyncio
import json
import platform
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from console.access.door import Viewer
from console.parts import PartsDep
from nexus.process import version

router = APIRouter(tags=["about"])
_OF_THE_PAGES = Path(__file__).parents[1] / "web/dist/licences.json"
_LONGEST = 80  # characters: some packages put the whole text there
_CLASSIFIER = "License :: OSI Approved :: "


class Package(BaseModel):
    """A package of somebody else's, and its licence as the package itself says."""

    name: str
    version: str
    licence: str | None
    part: Literal["program", "pages"]


class About(BaseModel):
    """Versions, and the database's tier: community, apache or plain."""

    version: str
    python: str
    tier: str
    licences: list[Package]


@router.get("/about")
async def about(parts: PartsDep, _: Viewer) -> About:
    """Versions, the database's tier, and the licences of what is installed."""
    tier = await parts.database.tier()
    packages = await asyncio.to_thread(_packages)
    return About(version=version.program(), python=platform.python_version(), tier=tier, licences=list(packages))


@cache
def _packages() -> tuple[Package, ...]:
    """All that is installed with the program, and built into its pages; by name."""
    found = {(one.name.lower(), one.part): one for one in (*_of_the_program(), *_of_the_pages())}
    return tuple(found[key] for key in sorted(found))


def _of_the_program() -> Iterator[Package]:
    for one in distributions():
        yield Package(name=one.metadata["Name"], version=one.version, licence=_licence(one), part="program")


def _licence(package: Distribution) -> str | None:
    said = package.metadata.json
    if expression := said.get("license_expression"):
        return str(expression)
    named = [one.removeprefix(_CLASSIFIER) for one in said.get("classifier", []) if one.startswith(_CLASSIFIER)]
    text = str(said.get("license", "")).strip()
    return ", ".join(named) or (text if 0 < len(text) <= _LONGEST and "\n" not in text else None)


def _of_the_pages() -> Iterator[Package]:
    """The build notes them; without pages there are none."""
    if _OF_THE_PAGES.exists():
        for one in json.loads(_OF_THE_PAGES.read_text(encoding="utf-8")):
            yield Package(**one, part="pages")
