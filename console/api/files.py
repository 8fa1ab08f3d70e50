"""`/files`: the device files of gateways, which answer for themselves through the broker."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from console.access import audit
from console.access.door import Engineer
from console.access.person import Person
from console.api.files_model import (
    AllFiles,
    Changed,
    Checked,
    Compared,
    FileProblem,
    FileText,
    FileVersion,
    FileVersions,
    GatewayFiles,
)
from console.api.parameters import Text
from console.live import epoch
from console.parts import Parts, PartsDep
from console.problems import Problem
from nexus.contract import device_files as contract
from nexus.contract import topic as topics
from nexus.contract.codec import DecodeError
from nexus.contract.command import asker
from nexus.contract.device_files import Answer, Operation, Request

TIMEOUT_SECONDS = 40.0  # a gateway checks for at most 30
LIST_SECONDS = 5.0  # a list is asked of all of them, and those that are gone do not answer

router = APIRouter(tags=["files"])

Group = Annotated[Text, Query(min_length=1, max_length=200)]
Name = Annotated[Text, Query(min_length=1, max_length=200)]
Texts = Annotated[
    dict[Annotated[Text, Field(max_length=200)], Text | None],
    Field(max_length=1000, description="New texts by name; null for a file that goes. All others stay."),
]


class GatewayName(BaseModel):
    """Whose files."""

    model_config = ConfigDict(extra="forbid")
    group: Text = Field(min_length=1, max_length=200, examples=["gateway"])
    member: Text = Field(min_length=1, max_length=200, examples=["gateway"])


class FileChanges(GatewayName):
    """Files as somebody would have them."""

    files: Texts


class FileChange(FileChanges):
    """Files as they are to be; `digest` is that of the files which the change was made for."""

    digest: Text = Field(max_length=200)


class VersionName(GatewayName):
    """A version to go back to."""

    id: Text = Field(min_length=1, max_length=200)


@router.get("/files")
async def files(_: Engineer, parts: PartsDep) -> AllFiles:
    """The gateways that answer, each with the names of its device files; `reason` says why they can only be read."""
    rows = [one for one in parts.plant.gateways() if one.state == "online"]
    return AllFiles(gateways=await asyncio.gather(*[_listed(parts, one.group, one.member) for one in rows]))


@router.get("/files/content")
async def content(_: Engineer, parts: PartsDep, group: Group, member: Name, file: Name) -> FileText:
    """The text of a file, with `${VARIABLES}` as they are written; passwords that are written out are masked."""
    answer = await _ask(parts, group, member, Request("read", file=file))
    return FileText(file=file, text=answer.text or "", digest=answer.digest)


@router.get("/files/history")
async def history(_: Engineer, parts: PartsDep, group: Group, member: Name) -> FileVersions:
    """The versions to which one can go back, the newest first: who replaced each of them, and when."""
    answer = await _ask(parts, group, member, Request("history"))
    return FileVersions(items=[_version(one) for one in answer.versions])


@router.post("/files/check")
async def check(wanted: FileChanges, person: Engineer, parts: PartsDep) -> Checked:
    """What `nexus check` says of the files with these changes, by file and line."""
    answer = await _checked(parts, person, wanted, Request("check", wanted.files))
    return Checked(ok=answer.ok, problems=_problems(answer.problems))


@router.post("/files/diff")
async def diff(wanted: FileChanges, person: Engineer, parts: PartsDep) -> Compared:
    """How the files with these changes differ from those that run, as a unified diff."""
    answer = await _checked(parts, person, wanted, Request("diff", wanted.files))
    return Compared(ok=answer.ok, problems=_problems(answer.problems), diff=answer.diff or "")


@router.post("/files/apply")
async def apply(wanted: FileChange, person: Engineer, parts: PartsDep) -> Changed:
    """Replaces files, if they have no error; the gateway takes them within seconds. `ok` is false if they have one."""
    request = Request("apply", wanted.files, digest=wanted.digest, by=asker(person.name))
    return await _changed(parts, person, wanted, request, {"files": sorted(wanted.files)})


@router.post("/files/rollback")
async def rollback(wanted: VersionName, person: Engineer, parts: PartsDep) -> Changed:
    """Puts back the files of a version."""
    request = Request("rollback", id=wanted.id, by=asker(person.name))
    return await _changed(parts, person, wanted, request, {"version": wanted.id})


async def _checked(parts: Parts, person: Person, wanted: FileChanges, request: Request) -> Answer:
    """The answer is only given once there is a row of who asked: it tells something of the gateway's machine."""
    answer = await _ask(parts, wanted.group, wanted.member, request)
    errors = sum(one.level == "error" for one in answer.problems)
    about = {"files": sorted(wanted.files), "errors": errors}
    name = topics.files(wanted.group, wanted.member)
    await audit.record(parts, person, "check-files", name, ok=answer.ok, detail=about)
    return answer


async def _changed(
    parts: Parts, person: Person, gateway: GatewayName, request: Request, about: dict[str, Any]
) -> Changed:
    event, name = f"{request.op}-files", topics.files(gateway.group, gateway.member)
    async with audit.around(parts, person, event, name, detail=about) as outcome:
        answer = await _ask(parts, gateway.group, gateway.member, request)
        outcome.ok, outcome.detail["error"] = answer.ok, answer.error
        outcome.detail["diff"] = answer.diff
    said = _problems(answer.problems)
    return Changed(ok=answer.ok, problems=said, digest=answer.digest, recorded=outcome.recorded)


async def _listed(parts: Parts, group: str, member: str) -> GatewayFiles:
    try:
        answer = await _ask(parts, group, member, Request("list"), LIST_SECONDS)
    except Problem as problem:
        return GatewayFiles(group=group, member=member, writable=False, reason=problem.detail, files=[], digest="")
    return GatewayFiles(
        group=group,
        member=member,
        writable=answer.writable,
        reason=answer.reason,
        files=list(answer.files),
        digest=answer.digest,
    )


async def _ask(parts: Parts, group: str, member: str, request: Request, timeout: float = TIMEOUT_SECONDS) -> Answer:
    """A gateway's answer: it did as asked, or found errors in the files. Raises Problem otherwise."""
    known = {(one.group, one.member) for one in parts.plant.gateways() if one.state == "online"}
    if (group, member) not in known and parts.plant.away is None:
        raise Problem(404, "No such gateway", f"no gateway {member} of group {group} is online: see GET devices")
    payload = contract.encode_request(request)
    if len(payload) > contract.LARGEST_BYTES:
        said = f"the files have {len(payload):,} bytes, and {contract.LARGEST_BYTES:,} are the most: use templates"
        raise Problem(413, "Too large", said)
    try:
        answer = contract.decode_answer(await parts.plant.request(topics.files(group, member), payload, timeout))
    except DecodeError as error:
        said = f"{error}: is it of this version? What became of the request is not known"
        raise Problem(502, "The gateway's answer cannot be read", said, outcome="unknown") from None
    if not answer.ok and not answer.problems:
        raise Problem(*_refusal(request.op), answer.error or "the gateway does not say why")
    return answer


def _problems(found: Sequence[contract.Problem]) -> list[FileProblem]:
    return [FileProblem(file=one.file, line=one.line, message=one.message, level=one.level) for one in found]


def _version(one: contract.Version) -> FileVersion:
    return FileVersion(id=one.id, time=epoch.text(one.time), person=one.by, files=list(one.files))


def _refusal(operation: Operation) -> tuple[int, str]:
    return (404, "No such file") if operation == "read" else (409, "The gateway refuses")
