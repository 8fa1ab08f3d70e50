"""What the routes of `/files` answer, as the API's description has it."""

from typing import Literal

from pydantic import BaseModel


class FileProblem(BaseModel):
    """What `nexus check` says of one place; `line` is null where it is the file as a whole."""

    file: str
    line: int | None
    message: str
    level: Literal["error", "warning"]


class GatewayFiles(BaseModel):
    """Names of a gateway's files; `reason` says why they can only be read. `digest` is that of all of them."""

    group: str
    member: str
    writable: bool
    reason: str | None
    files: list[str]
    digest: str


class AllFiles(BaseModel):
    """Of each gateway that answers."""

    gateways: list[GatewayFiles]


class FileText(BaseModel):
    """A file as it is written; `digest` is that of all the gateway's files, for a change of them."""

    file: str
    text: str
    digest: str


class FileVersion(BaseModel):
    """Files as they were until `person` replaced them at `time`; `id` is for going back to them."""

    id: str
    time: str
    person: str | None
    files: list[str]


class FileVersions(BaseModel):
    """The newest first."""

    items: list[FileVersion]


class Checked(BaseModel):
    """`ok` if there is no error; warnings may be there."""

    ok: bool
    problems: list[FileProblem]


class Compared(Checked):
    """`diff` is a unified diff, empty where nothing differs."""

    diff: str


class Changed(Checked):
    """What became of a change; `recorded` is false while the audit's row of the outcome waits for the database."""

    digest: str
    recorded: bool
