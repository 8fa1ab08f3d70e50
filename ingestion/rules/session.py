"""The rules on the broker: inputs and requests in, the outbox, states and present alarms out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import partial

from ingestion.rules import metrics
from ingestion.rules.description import describe
from ingestion.rules.engine import Engine
from ingestion.rules.outbox import Outbox
from ingestion.rules.progress import Progress
from ingestion.rules.settings import Settings
from nexus import mqtt
from nexus.contract import topic
from nexus.contract.codec import DecodeError
from nexus.contract.description import RULES, decode_description
from nexus.contract.receipt import decode_receipt
from nexus.contract.status import State, Status, encode_status
from nexus.process import log, supervisor
from nexus.process.clock import now_ms
from nexus.process.run import task_group

EXPIRY_SECONDS = 120  # of a rule's state, which says that somebody evaluates it
RENEW_SECONDS = 40.0
DESCRIPTION_EXPIRY_SECONDS = 1_800  # of what it is, which is gone so long after the rule has left the files
DESCRIBE_SECONDS = 600.0
OFFER_SECONDS = 1.0  # so long we wait for what the broker has retained: an offer of receipts, a device with our path
LOOK_SECONDS = 1.0
MARK_LOOK_SECONDS = 0.25
MOST_BEHIND_SECONDS = 30.0  # that inputs wait to be evaluated before a person has to know

OnMessage = Callable[[mqtt.Connection, mqtt.Message], None]


class Session:
    """One after the other connection of the active process; `received` gets inputs and requests.

    `written` is set when there is more to send.
    """

    def __init__(
        self,
        own: Settings,
        publisher: str,
        engine: Engine,
        outbox: Outbox,
        progress: Progress,
        *,
        received: OnMessage,
        written: asyncio.Event,
    ) -> None:
        self._receipts, self._group = own.receipts, own.group
        self._offer_filter = topic.receipt_offer("+" if own.receipts == "auto" else own.receipts)
        self._receipt_topic = topic.receipt(publisher)
        self._engine, self._outbox, self._progress, self._received = engine, outbox, progress, received
        self._paths = frozenset(rule.path for rule in engine.rules)
        self._offers: set[str] = set()
        self._offered = asyncio.Event()
        self._wake = written
        self._stopping = asyncio.Event()
        self._clock = asyncio.get_running_loop().time
        self._unwanted: set[str] = set()  # topics of earlier files, to which the session is still subscribed
        self._refusals: set[str] = set()
        self._log = log.get("rules")
        self.contested: set[str] = set()  # paths of rules that a device has, too
        self.subscribed = False
        self.away = "not connected yet"  # why it is not subscribed
        outbox.awaits_receipts = outbox.offered if own.receipts == "auto" else own.receipts != "none"

    async def run(
        self,
        broker: mqtt.Broker,
        client: mqtt.Client,
        subscribed: Callable[[mqtt.Connection], None],
        away: Callable[[], None],
        check: Callable[[], Awaitable[None]],
    ) -> None:
        """Runs until `leave`; tells when inputs come, and when they do not any more.

        `check` is awaited before each connection, and raises if another process may be active: it uses the same name.
        """

        async def serve(connection: mqtt.Connection) -> None:
            metrics.connected.set(1)
            try:
                await self._subscribe(connection)
                self.subscribed = True
                subscribed(connection)
                await self._serve(connection)
            finally:
                metrics.connected.set(0)
                self.subscribed = False
                away()

        await mqtt.stay_connected(
            broker, client, serve, self.receive, before=check, on_away=self._note_away, longest_pause=5.0
        )

    def _note_away(self, reason: str) -> None:
        self.away = reason

    def leave(self) -> None:
        """The process stops: says so on the broker, which keeps the session for whoever is active next."""
        self._stopping.set()

    @property
    def refusals(self) -> list[str]:
        """What the broker does not let us do."""
        return sorted(self._refusals)

    @property
    def standing_still(self) -> list[str]:
        """Why inputs are not evaluated, or late; empty while they are."""
        if self._outbox.full:
            return [f"evaluation stands still: {len(self._outbox):,} messages have no receipt from an ingester"]
        if (behind := self._progress.behind(now_ms())) > MOST_BEHIND_SECONDS:
            remedy = "take fewer inputs, publish them more rarely, or split the rules among groups"
            return [f"evaluation is {behind:.0f} s behind, as more comes than can be evaluated: {remedy}"]
        return []

    async def _subscribe(self, connection: mqtt.Connection) -> None:
        self._offers.clear()
        self._offered.clear()
        self._outbox.reconnected()
        if self._receipts != "none":
            # Not counted against the receive maximum: inputs that wait for room in the outbox would hold them up.
            await self._ask(connection, [self._receipt_topic, self._offer_filter], at_most_once=True)
        if connection.session_present:  # with what was subscribed to for the rules of earlier files
            former = self._engine.former
            await connection.unsubscribe(*map(topic.description, former), *map(_requests, former))
        paths = [rule.path for rule in self._engine.rules]
        # Not kept while nobody listens: what was asked a while ago is not what somebody wants now.
        await self._ask(connection, map(_requests, paths), at_most_once=True)
        # In order with the inputs, because they are marks as well.
        await self._ask(connection, map(topic.description, paths))
        await self._ask(connection, self._engine.filters)

    async def _ask(self, connection: mqtt.Connection, some: Iterable[str], *, at_most_once: bool = False) -> None:
        for refusal in await connection.subscribe_all(some, at_most_once=at_most_once):
            self._refuse(refusal)

    def _refuse(self, reason: str) -> None:
        if reason not in self._refusals and len(self._refusals) < 100:
            self._refusals.add(reason)
            self._log.error("the broker refuses: check its ACL", reason=reason)

    async def _serve(self, connection: mqtt.Connection) -> None:
        async with task_group(mqtt.MqttError) as group:
            sending = supervisor.part(group, self._send(connection), name="outbox")
            stating = supervisor.part(group, self._state(connection), name="states")
            describing = supervisor.part(group, self._describe(connection), name="descriptions")
            marking = supervisor.part(group, self._mark(connection), name="marks")
            await self._stopping.wait()
            for task in (sending, stating, describing, marking):
                task.cancel()
        await self._say_states(connection, "offline", "stopped")

    async def _describe(self, connection: mqtt.Connection) -> None:
        while True:
            await asyncio.sleep(OFFER_SECONDS)
            for rule in self._engine.rules:
                if rule.path not in self.contested:
                    name, payload = topic.description(rule.path), describe(rule, self._group, now_ms())
                    code = await (
                        await connection.publish(name, payload, retain=True, expiry=DESCRIPTION_EXPIRY_SECONDS)
                    )
                    if code >= mqtt.REFUSED:
                        self._refuse(f"descriptions on device/…: {mqtt.reason(code)}")
            await asyncio.sleep(DESCRIBE_SECONDS)

    async def _mark(self, connection: mqtt.Connection) -> None:
        """Describes a rule once more where somebody has to know whether all that was before that has come."""
        while True:
            rule = next((one for one in self._engine.rules if one.path not in self.contested), None)
            if rule is not None and self._progress.wants_mark(self._clock()):
                now = now_ms()
                payload = describe(rule, self._group, now)
                self._progress.marked(payload, now, self._clock())
                await connection.publish(topic.description(rule.path), payload)
            await asyncio.sleep(MARK_LOOK_SECONDS)

    async def _send(self, connection: mqtt.Connection) -> None:
        if self._receipts == "auto":
            with suppress(TimeoutError):
                async with asyncio.timeout(OFFER_SECONDS):
                    await self._offered.wait()
        for name in list(self._outbox.alarms):  # a broker may have lost what it retained
            payload = self._outbox.alarms.get(name)
            if payload is not None and not self._outbox.has(name):
                await connection.publish(name, payload, retain=True)
        while True:
            self._wake.clear()
            if self._unwanted:
                unwanted, self._unwanted = self._unwanted, set()
                await connection.unsubscribe(*unwanted)
            await connection.has_quota()
            while connection.send_quota > 0 and (found := self._outbox.next(self._clock())) is not None:
                row, retain = found
                answered = partial(self._answered, row.number, row.topic)
                connection.send(row.topic, row.payload, answered, retain=retain)
                metrics.said.inc()
            if connection.send_quota > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._wake.wait()

    def _answered(self, number: int, name: str, code: int) -> None:
        if code >= mqtt.REFUSED:
            metrics.refused.inc()
            self._refuse(f"{name}: {mqtt.reason(code)}")
        else:
            self._outbox.taken(number)

    async def _state(self, connection: mqtt.Connection) -> None:
        while True:
            await self._say_states(connection)
            await asyncio.sleep(RENEW_SECONDS)

    async def _say_states(self, connection: mqtt.Connection, state: State | None = None, reason: str = "") -> None:
        """As each rule is, or all of them in this `state`; waits for the broker to have them."""
        answers = []
        without = 0
        for rule in self._engine.rules:
            problems = self._engine.problems(rule.path)
            without += len(problems)
            problems += self._engine.refused(rule.path) + self.standing_still
            is_now: State = state or ("degraded" if problems else "online")
            status = Status(is_now, reason or "; ".join(problems)[:500], now_ms())
            name, payload = topic.status(rule.path), encode_status(status)
            answers.append(await connection.publish(name, payload, retain=True, expiry=EXPIRY_SECONDS))
        metrics.without_result.set(without)
        for answer in answers:
            if (code := await answer) >= mqtt.REFUSED:
                self._refuse(f"states: {mqtt.reason(code)}")

    def receive(self, connection: mqtt.Connection, message: mqtt.Message) -> None:
        """Takes a message of any of our topics."""
        name = message.topic
        if self._engine.is_input(name) or name.startswith("ack/"):
            self._received(connection, message)
            return
        connection.acknowledge(message.packet_id)
        if name == self._receipt_topic:
            self._take_receipt(message.payload)
        elif mqtt.matches(self._offer_filter, name):
            self._take_offer(name, offered=bool(message.payload))
        elif name.startswith(topic.description("")):
            self._progress.returned(message.payload, now_ms())
            self._take_description(name, message.payload)
        else:
            self._unwanted.add(name)

    def _take_receipt(self, payload: bytes) -> None:
        try:
            is_ours = self._outbox.committed(decode_receipt(payload))
        except DecodeError:
            is_ours = False
        if not is_ours:
            metrics.receipts_refused.inc()

    def _take_offer(self, name: str, *, offered: bool) -> None:
        if offered and len(self._offers) < 100:
            self._offers.add(name)
        else:
            self._offers.discard(name)
        self._outbox.offers(some=bool(self._offers), now=self._clock())
        if not self._offers:
            return
        self._offered.set()
        if self._receipts == "auto":  # from now on, also after a restart: a broker may lose what it retains
            self._outbox.awaits_receipts = self._outbox.offered = True

    def _take_description(self, name: str, payload: bytes) -> None:
        path = name.removeprefix(topic.description(""))
        if path not in self._paths:
            self._unwanted.add(name)
        elif not payload or self._is_ours(payload):
            self.contested.discard(path)
        elif path not in self.contested:
            self.contested.add(path)
            self._log.error("a device has the path of a rule: change one of the two", path=path)

    def _is_ours(self, payload: bytes) -> bool:
        try:
            found = decode_description(payload)
        except DecodeError:
            return False
        return (found.protocol, found.group) == (RULES, self._group)


def _requests(path: str) -> str:
    """Filter for requests about the alarms of what has this path."""
    return topic.ack(path, "", "#")
