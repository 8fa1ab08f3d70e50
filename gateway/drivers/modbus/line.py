"""Connections to Modbus devices, shared by the units behind each, which take turns."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.drivers import reach
from gateway.drivers.driver import DeviceError
from gateway.drivers.modbus import wire
from gateway.drivers.modbus.turns import Turns
from gateway.drivers.modbus.wire import AnswerTimeoutError, ConnectionClosedError, Request, Serial, Tcp, Wire

_UNANSWERED = 3  # missing answers in a row, of all units, after which the connection itself is in doubt
# The converter reports that the unit behind it did not answer in time.
_ABSENT = (10, 11)


class ModbusExceptionError(Exception):
    """The unit answered with an exception code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class NoAnswerError(DeviceError):
    """No answer came in time; the unit's next request may still be answered."""


@dataclass(slots=True)
class RequestTiming:
    """How one unit is asked, in seconds: how long an answer may take, and how long to rest before each request.

    `waited` counts what its requests have waited for their turn; `since` when the one began that waits now.
    """

    timeout: float
    delay: float = 0.0
    waited: float = 0.0
    since: float | None = None

    def seconds_waited(self) -> float:
        """Until now."""
        return self.waited if self.since is None else self.waited + asyncio.get_running_loop().time() - self.since


class Line:
    """One connection. Its units take turns, one request at a time; it is reopened when the other side closes it."""

    def __init__(self, where: Tcp | Serial, turns: Turns) -> None:
        self._where = where
        self._turn = asyncio.Lock()
        self._slow_turn = asyncio.Lock()  # taken by slow units among themselves
        self._clock = asyncio.get_running_loop().time
        self._quiet: dict[int, float] = {}  # by unit: until when a late answer could be mistaken for the next one
        self._unanswered = 0
        self._sent = 0.0
        self._wire: Wire | None = None
        self._opening = asyncio.create_task(self._open(), name=f"open {where}")
        self.turns = turns
        self.lost = False
        self.users = 0

    async def opened(self) -> None:
        """Waits for the connection. Raises DeviceError."""
        await asyncio.shield(self._opening)

    def close(self) -> None:
        """Closes the connection."""
        self.lost = True
        self._opening.cancel()
        self._hang_up()

    def rest(self, unit: int) -> float:
        """How long a unit must not be scanned yet, because its answers took the others' time; usually 0."""
        return self.turns.slow_rest(unit, self._clock()) if self.users > 1 else 0.0

    async def read(self, unit: int, request: Request, timing: RequestTiming) -> Sequence[int]:
        """Sends a read request; returns its values. Raises ModbusExceptionError and DeviceError."""
        return request.words(await self._ask(unit, request, timing))

    async def write_coil(self, unit: int, start: int, value: bool, timing: RequestTiming) -> None:
        """Sets one coil. Raises ModbusExceptionError and DeviceError."""
        await self._ask(unit, wire.writing(5, start, 0xFF00 if value else 0), timing)

    async def write_registers(self, unit: int, start: int, words: list[int], timing: RequestTiming) -> None:
        """Sets holding registers; a single one by the function that all devices have.

        Raises ModbusExceptionError and DeviceError.
        """
        one = len(words) == 1
        await self._ask(unit, wire.writing(6, start, words[0]) if one else wire.writing_many(start, words), timing)

    async def write_bit(self, unit: int, start: int, mask: int, value: bool, timing: RequestTiming) -> None:
        """Sets one bit of a holding register, inside the device. Raises ModbusExceptionError and DeviceError."""
        await self._ask(unit, wire.masking(start, 0xFFFF & ~mask, mask if value else 0), timing)

    async def _ask(self, unit: int, request: Request, timing: RequestTiming) -> bytes:
        """Sends a request when the unit has its turn; returns the answer. Raises ModbusExceptionError, DeviceError."""
        slow = self.turns.is_slow(unit)
        if self.users > 1 or self._quiet:
            await self._wait_for_others(unit, slow, timing)
        elif slow:
            await self._begin_turn(slow)
        else:
            await self._turn.acquire()
        try:
            self._may_try(unit)
            if timing.delay:
                await asyncio.sleep(timing.delay)
            answer = await self._timed(unit, request, timing)
        finally:
            self._end_turn(slow)
        if answer[0] & 0x80:
            raise ModbusExceptionError(answer[1])
        return answer

    async def _wait_for_others(self, unit: int, slow: bool, timing: RequestTiming) -> None:
        timing.since = self._clock()
        try:
            self._may_try(unit)
            await self._wait_for_turn(unit, slow)
        finally:
            timing.waited += self._clock() - timing.since
            timing.since = None

    async def _wait_for_turn(self, unit: int, slow: bool) -> None:
        """Does not ask a unit whose late answer may still come, not even for another device."""
        while True:
            if (quiet := self._quiet.get(unit, 0.0) - self._clock()) > 0:
                await asyncio.sleep(quiet)
            await self._begin_turn(slow)
            if self._quiet.get(unit, 0.0) <= self._clock():
                self._quiet.pop(unit, None)
                return
            self._end_turn(slow)

    async def _begin_turn(self, slow: bool) -> None:
        """Lets one slow unit at a time queue with the others, so that they wait for at most one of them."""
        if slow:
            await self._slow_turn.acquire()
        try:
            await self._turn.acquire()
        except asyncio.CancelledError:
            if slow:
                self._slow_turn.release()
            raise

    def _end_turn(self, slow: bool) -> None:
        self._turn.release()
        if slow:
            self._slow_turn.release()

    def _may_try(self, unit: int) -> None:
        if self.lost:
            raise DeviceError(f"{self._where} closed the connection", kind="closed")
        if self.users > 1 and (rest := self.turns.rest(unit, self._clock())):
            remedy = "check its power, wiring and `unit`; others share the line, so it is tried now and then only"
            raise DeviceError(f"no answer from unit {unit}: {remedy}", again_in=rest, kind="timeout")

    async def _timed(self, unit: int, request: Request, timing: RequestTiming) -> bytes:
        """One request; learns from its answer, or its absence, about the unit."""
        began, finished = self._clock(), False
        limit = self.turns.limit(unit, timing.timeout, began) if self.users > 1 else timing.timeout
        try:
            answer = await self._answered(unit, request, limit)
            finished = True
        except AnswerTimeoutError as silence:
            self._unanswered += 1
            self.turns.missed(unit, self._clock(), self._clock() - began)
            what = "nothing that makes sense" if silence.noise else "no answer"
            raise NoAnswerError(f"{what} from unit {unit} within {limit:g} s", kind="timeout") from None
        except DeviceError:
            self._hang_up()  # the next answer on this connection could belong to any request
            raise
        finally:
            if not finished and not self._where.numbered:
                self._distrust(unit, timing.timeout)
        self._unanswered = 0
        now = self._clock()
        if answer[0] & 0x80 and answer[1] in _ABSENT:
            self.turns.missed(unit, now, now - began)
        else:
            self.turns.answered(unit, now - self._sent, now - began + timing.delay, now)
        return answer

    async def _answered(self, unit: int, request: Request, limit: float) -> bytes:
        """Repeats a read if need be: where answers are numbered, as soon as the first one is probably lost."""
        numbered, twice = self._where.numbered, request.repeatable and self.turns.trusts(unit)
        first = self.turns.repeat_after(limit) if twice and numbered else limit
        try:
            return await self._once(unit, request, first)
        except AnswerTimeoutError:
            rest = limit - first if numbered else limit
            if rest <= 0 or not twice:
                raise
        except ConnectionClosedError:
            if not request.repeatable:
                raise DeviceError(f"{self._where} closed the connection", kind="closed") from None
            rest = limit
        try:
            answer = await self._once(unit, request, rest, again=True)
        except ConnectionClosedError:
            raise DeviceError(f"{self._where} closed the connection", kind="closed") from None
        if not numbered:
            self._distrust(unit, limit)  # the other answer may still be on its way
        return answer

    def _distrust(self, unit: int, seconds: float) -> None:
        """A late answer may still come: the unit rests, and this connection is not listened to any more."""
        self._quiet[unit] = self._clock() + seconds
        if isinstance(self._where, Tcp):
            self._hang_up()

    async def _once(self, unit: int, request: Request, seconds: float, *, again: bool = False) -> bytes:
        connection = self._wire
        if connection is None or connection.closed or self._unanswered >= _UNANSWERED:
            connection = await self._reopened(seconds)
        if (silence := connection.silence()) > 0:
            await asyncio.sleep(silence)
        connection.send(unit, request, again=again)
        self._sent = self._clock()
        return await connection.answer(unit, request, seconds)

    async def _reopened(self, seconds: float) -> Wire:
        """Reopens the connection if it was closed, or has been silent for too long."""
        try:
            async with asyncio.timeout(seconds):
                return await self._open()
        except TimeoutError as error:
            self.lost = True
            said = f"no connection to {self._where}: {wire.remedy(self._where, error)}"
            raise DeviceError(said, kind=reach.kind(error)) from None

    async def _open(self) -> Wire:
        self._hang_up()
        self._unanswered = 0
        try:
            self._wire = await wire.connected(self._where)
        except DeviceError:
            self.lost = True
            raise
        return self._wire

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


_lines: dict[tuple[asyncio.AbstractEventLoop, Tcp | Serial], Line] = {}


@asynccontextmanager
async def shared(where: Tcp | Serial) -> AsyncIterator[Line]:
    """The connection to `where`, made if nobody has it yet, and closed with its last user. Raises DeviceError."""
    key = (asyncio.get_running_loop(), where)
    line = _lines.get(key)
    if line is None or line.lost:
        line = _lines[key] = Line(where, line.turns if line is not None else Turns())
    line.users += 1
    try:
        await line.opened()
        yield line
    finally:
        line.users -= 1
        if not line.users:
            line.close()
            if _lines.get(key) is line:
                del _lines[key]
