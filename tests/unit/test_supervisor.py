"""What handles outside things is contained: its faults are counted, logged once, and cost only themselves."""

import ast
import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus.process import backoff, supervisor
from nexus.process.errors import InvariantError
from nexus.process.run import run, task_group

ROOT = Path(__file__).parents[2]
SERVICES = ("nexus", "gateway", "ingestion", "console", "db")
# These start what the supervisor itself runs in.
OWN = {"nexus/process/supervisor.py", "nexus/process/run.py"}


def count(kind: supervisor.Kind) -> float:
    return float(supervisor.faults.labels(kind)._value.get())


def test_a_callback_that_fails_is_counted_and_gives_nothing() -> None:
    before = count("message")
    assert supervisor.call("message", int, "7") == 7
    assert supervisor.call("message", int, "seven") is None
    assert count("message") == before + 1


def test_a_broken_invariant_passes_through() -> None:
    def broken() -> None:
        raise InvariantError("two owners")

    with pytest.raises(InvariantError):
        supervisor.call("timer", broken)


@pytest.mark.parametrize("way", [supervisor.start, supervisor.keep])
def test_a_broken_invariant_ends_the_block_of_its_task(way: Callable[..., object]) -> None:
    async def broken() -> None:
        raise InvariantError("two owners")

    async def scenario() -> None:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            way(group, "timer", broken() if way is supervisor.start else broken, name="broken")
            await asyncio.Event().wait()

    before = count("timer")
    with pytest.raises(BaseExceptionGroup) as caught:
        asyncio.run(scenario())
    assert caught.group_contains(InvariantError)
    assert count("timer") == before


def test_one_failing_task_costs_no_other() -> None:
    done = []

    async def fails() -> None:
        raise RuntimeError("no")

    async def works() -> None:
        await asyncio.sleep(0)
        done.append(1)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            supervisor.start(group, "command", fails(), name="fails")
            supervisor.start(group, "command", works(), name="works")

    before = count("command")
    asyncio.run(scenario())
    assert done == [1]
    assert count("command") == before + 1


def test_what_is_kept_starts_again_until_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_SECONDS", 0.0)
    tries = []

    async def body() -> None:
        tries.append(1)
        if len(tries) < 4:
            raise OSError("not yet")

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            supervisor.keep(group, "timer", body, name="body")

    before = count("timer")
    asyncio.run(scenario())
    assert len(tries) == 4
    assert count("timer") == before + 3


def test_a_cancellation_of_ones_own_passes_and_somebody_elses_does_not() -> None:
    async def scenario() -> None:
        dead = asyncio.get_running_loop().create_future()
        dead.cancel()

        async def waits_for_the_dead() -> None:
            await dead

        async def sleeps() -> None:
            await asyncio.sleep(60)

        async with asyncio.TaskGroup() as group:
            stray = supervisor.start(group, "peer", waits_for_the_dead(), name="stray")
            ours = supervisor.start(group, "peer", sleeps(), name="ours")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            ours.cancel()
        assert stray.result() is None
        assert ours.cancelled()

    before = count("peer")
    asyncio.run(scenario())
    assert count("peer") == before + 1


def test_the_same_fault_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []

    class Log:
        def error(self, _: str, **keys: object) -> None:
            said.append(keys["name"])

    monkeypatch.setattr("nexus.process.supervisor.log.get", lambda _: Log())
    monkeypatch.setattr(supervisor, "_logged", {})

    def fails() -> None:
        raise KeyError("x")

    for _ in range(100):
        supervisor.call("message", fails)
    assert len(said) == 1


def test_a_broken_invariant_in_a_callback_ends_the_process_in_order() -> None:
    ended = []

    async def service(stop: asyncio.Event) -> None:
        def broken() -> None:
            raise InvariantError("two owners")

        asyncio.get_running_loop().call_soon(broken)
        await stop.wait()
        ended.append(1)

    assert run(service) == 1
    assert ended == [1]


def test_a_broken_invariant_in_a_task_ends_the_process_whoever_catches_errors_around_it() -> None:
    ended = []

    async def broken() -> None:
        try:
            await asyncio.sleep(0)
            raise InvariantError("two owners")
        except Exception:
            ended.append("contained")

    async def service(stop: asyncio.Event) -> None:
        async with task_group() as group:
            supervisor.keep(group, "device", broken, name="broken")
            try:
                await stop.wait()
            finally:
                ended.append("in order")

    assert run(service) == 1
    assert ended == ["in order"]


class LostError(Exception):
    """The connection is lost: one of the things that happen."""


def raised_by(*errors: BaseException) -> BaseException:
    """What `task_group` makes of errors of one moment."""

    async def fails(error: BaseException) -> None:
        raise error

    async def scenario() -> None:
        async with task_group(LostError) as group:
            for error in errors:
                supervisor.part(group, fails(error), name="fails")

    try:
        asyncio.run(scenario())
    except BaseException as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "raised"), [(LostError("away"), asyncio.CancelledError), (InvariantError("x"), InvariantError)]
)
async def test_a_cancellation_is_kept_when_a_task_fails_in_that_moment(
    error: BaseException, raised: type[BaseException]
) -> None:
    async def fails() -> None:
        await asyncio.sleep(0)
        raise error

    async def work() -> None:
        async with task_group(LostError) as group:
            supervisor.part(group, fails(), name="fails")
            await asyncio.Event().wait()

    working = asyncio.create_task(work(), name="work")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    working.cancel()
    with pytest.raises(raised):
        await working


def test_of_errors_of_one_moment_the_unexpected_one_is_raised_and_no_fault_is_lost() -> None:
    before = count("peer")
    fault, other, broken = KeyError("x"), ValueError("y"), InvariantError("two owners")
    assert raised_by(LostError(), fault) is fault
    assert count("peer") == before
    assert raised_by(LostError(), fault, KeyError("x")) is fault, "the same fault of several parts is one"
    assert count("peer") == before
    assert raised_by(LostError(), fault, other) is fault
    assert count("peer") == before + 1
    assert raised_by(LostError(), other, broken) is broken
    assert count("peer") == before + 2


def test_what_is_lost_at_the_same_time_is_noted_once() -> None:
    raised = raised_by(LostError("reset"), LostError("no PUBACK"), LostError("no PUBACK"), LostError("reset"))
    assert str(raised) == "reset"
    assert raised.__notes__ == ["at the same time: LostError('no PUBACK')"]


def test_a_callback_that_fails_otherwise_ends_nothing() -> None:
    async def service(_: asyncio.Event) -> None:
        asyncio.get_running_loop().call_soon(int, "seven")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    before = count("peer")
    assert run(service) == 0
    assert count("peer") == before + 1


@pytest.mark.parametrize("package", SERVICES)
def test_no_task_is_started_without_the_supervisor(package: str) -> None:
    """Tasks by hand have no owner: a fault in one is silent, or the end of the process."""
    found = []
    for file in sorted((ROOT / package).rglob("*.py")):
        name = str(file.relative_to(ROOT))
        if name in OWN:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr in {"create_task", "ensure_future"}:
                found.append(f"{name}:{called.lineno}")
    allowed = {
        "console/live/stored.py": 1,  # a query: shared by all who ask meanwhile, and awaited by each
        "gateway/drivers/modbus/line.py": 1,  # opening: shared by the units of a line, and awaited by each
    }
    for name, number in allowed.items():
        those = [place for place in found if place.startswith(f"{name}:")]
        if name.startswith(package):
            assert len(those) == number, f"say so here if {name} starts tasks by hand in other places now: {those}"
        found = [place for place in found if place not in those]
    assert found == []
