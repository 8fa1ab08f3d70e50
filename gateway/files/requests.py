"""Answers requests about the device files, one after the other: `file/{group}/{member}`."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from gateway.config import device_files
from gateway.config.checker import checked
from gateway.config.watcher import ConfigWatcher
from gateway.files.errors import FilesError
from gateway.files.folder import Folder
from gateway.files.history import History
from gateway.files.masking import masked
from nexus import mqtt
from nexus.contract.codec import DecodeError
from nexus.contract.device_files import Answer, Problem, Request, decode_request, encode_answer
from nexus.process import log, supervisor
from nexus.process.clock import now_ms
from nexus.process.errors import ConfigError
from nexus.requests import answering
from nexus.requests.answering import sender

MOST_WAITING = 8
_MOST_DIFF_BYTES = 6_000  # of a diff in an audit record, whose rows have 16 kB

_HIDDEN = "holds a password in a form that cannot be masked: write it as ${DEVICE_…}"


class FileRequests:
    """`topic` is where they come; `alone` tells whether no other gateway has files that ours would differ from."""

    def __init__(self, topic: str, path: Path, prefix: str, watch: ConfigWatcher, alone: Callable[[], bool]) -> None:
        self.topic = topic
        self._path, self._prefix, self._watch, self._alone = path, prefix, watch, alone
        self._folder = Folder(path)
        self._history = History(watch.kept.with_suffix(".history"))
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._log = log.get("files")

    @property
    def read_only_because(self) -> str | None:
        """Why the files cannot be changed through this gateway; None if they can."""
        if not self._alone():
            return "several gateways share these devices: change the files of all of them at once, on disk"
        return self._folder.read_only_because()

    def take(self, group: asyncio.TaskGroup, connection: mqtt.Connection, message: mqtt.Message) -> bool:
        """Takes a message if it is such a request. Tasks belong to `group`."""
        if message.topic != self.topic:
            return False
        if message.retain or answering.is_misled(message) or self._waiting >= MOST_WAITING:
            self._log.warning("a request about device files is refused", by=sender(message), waiting=self._waiting)
        else:
            supervisor.start(group, "request", self._answered(connection, message), name="device files")
        return True

    async def _answered(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        self._waiting += 1
        try:
            async with self._turn:
                answer = await self._answer(message)
        finally:
            self._waiting -= 1
        await answering.send(connection, message, encode_answer(answer))

    async def _answer(self, message: mqtt.Message) -> Answer:
        try:
            request = decode_request(message.payload)
            answer = await self._done(request, sender(message) or request.by)
        except (DecodeError, FilesError, ConfigError) as error:
            answer = Answer(False, str(error))
        except Exception as error:
            supervisor.failed("request", "device files", error)
            answer = Answer(False, f"internal error: {type(error).__name__}; the gateway's log says more")
        answer.reason = await asyncio.to_thread(lambda: self.read_only_because)
        answer.writable = answer.reason is None
        answer.digest = await asyncio.to_thread(lambda: self._folder.digest)
        return answer

    async def _done(self, request: Request, by: str | None) -> Answer:
        match request.op:
            case "list":
                return Answer(True, files=tuple(sorted(await asyncio.to_thread(self._folder.read))))
            case "history":
                return Answer(True, versions=await asyncio.to_thread(self._history.versions))
            case "read":
                return Answer(True, text=await asyncio.to_thread(self._shown, request.file))
            case "check" | "diff":
                problems, diff = await self._checked(request.files)
                return Answer(not _errors(problems), problems=problems, diff=diff if request.op == "diff" else None)
            case "apply":
                return await self._apply(request.files, request.digest, by)
            case "rollback":
                return await self._roll_back(request.id or "", by)

    def _shown(self, name: str | None) -> str:
        texts = self._folder.read()
        if name not in texts:
            raise FilesError(f"there is no device file {name!r}; there are {', '.join(sorted(texts))}")
        return _masked(name, texts[name])

    async def _checked(
        self, changes: dict[str, str | None], on_disk: dict[str, str] | None = None
    ) -> tuple[tuple[Problem, ...], str]:
        """What would be wrong, and the diff against the files in use, or against those `on_disk`."""

        def prepared() -> tuple[device_files.Files, dict[str, tuple[str, str]]]:
            after = self._folder.overlaid(changes)
            running = {} if on_disk is not None else device_files.kept_files(self._watch.kept) or {}
            before = on_disk or {file.name: data.decode() for file, data in running.items()} or self._folder.read()
            now = {file.name: data.decode() for file, data in after.items()}
            names = before.keys() | now.keys()
            both = {name: (before.get(name, ""), now.get(name, "")) for name in names}
            changed = {name: pair for name, pair in both.items() if pair[0] != pair[1]}
            return after, {name: (_masked(name, old), _masked(name, new)) for name, (old, new) in changed.items()}

        files, compared = await asyncio.to_thread(prepared)
        return await checked(self._path, self._prefix, files, compared)

    async def _apply(self, changes: dict[str, str | None], digest: str | None, by: str | None) -> Answer:
        if (reason := await asyncio.to_thread(lambda: self.read_only_because)) is not None:
            raise FilesError(reason)
        before = await asyncio.to_thread(self._folder.read)
        if digest != await asyncio.to_thread(lambda: self._folder.digest):
            raise FilesError("the files have been changed since they were read: read them again")
        if hidden := sorted(name for name in changes if _masked(name, before.get(name, "")) != before.get(name, "")):
            said = "has a password written out, which is not shown: put it into a variable first, on disk"
            raise FilesError(f"{hidden[0]} {said}")
        problems, diff = await self._checked(changes, before)
        diff = _beginning(diff)
        if _errors(problems):
            return Answer(False, "the files have errors: nothing is changed", problems=problems, diff=diff)
        await asyncio.to_thread(self._history.add, before, by, now_ms())
        async with self._watch.changing:  # so that the watcher takes all changes at once
            await asyncio.to_thread(self._folder.replace, changes)
        self._log.info("device files are replaced", by=by, files=sorted(changes))
        return Answer(True, problems=problems, diff=diff)

    async def _roll_back(self, version: str, by: str | None) -> Answer:
        wanted = await asyncio.to_thread(self._history.files, version)
        before = await asyncio.to_thread(self._folder.read)
        changes: dict[str, str | None] = {name: wanted.get(name) for name in before.keys() | wanted.keys()}
        changes = {name: text for name, text in changes.items() if text != before.get(name)}
        return await self._apply(changes, await asyncio.to_thread(lambda: self._folder.digest), by)


def _errors(problems: tuple[Problem, ...]) -> bool:
    return any(one.level == "error" for one in problems)


def _beginning(diff: str) -> str:
    """As much of the diff as an audit record keeps."""
    data = diff.encode()
    if len(data) <= _MOST_DIFF_BYTES:
        return diff
    return f"{data[:_MOST_DIFF_BYTES].decode(errors='ignore')}\n… and {len(data) - _MOST_DIFF_BYTES:,} bytes more\n"


def _masked(name: str, text: str) -> str:
    if (shown := masked(text)) is None:
        raise FilesError(f"{name} {_HIDDEN}")
    return shown
