"""What the consumer subscribes to, where the broker does not allow all of it. Mosquitto refuses no subscription by rules."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ingestion import metrics
from ingestion.consume.batch import Delivery
from ingestion.consume.consumer import Consumer
from nexus.mqtt import MqttError, SubscriptionError

FILTERS = ["$share/g/dev/#", "$share/g/audit/#", "$share/g/tele/#"]


class Connection:
    """A connection whose broker answers `wrong` subscriptions with an error."""

    def __init__(self, wrong: dict[str, MqttError]) -> None:
        self._wrong = wrong
        self.asked: list[str] = []

    async def subscribe(self, one: str) -> None:
        self.asked.append(one)
        if one in self._wrong:
            raise self._wrong[one]


def subscribe(consumer: Consumer, wrong: dict[str, MqttError]) -> list[str]:
    connection: Any = Connection(wrong)
    return asyncio.run(consumer._subscribe(connection))


@pytest.fixture
def consumer() -> Consumer:
    anything: Any = SimpleNamespace()
    return Consumer(FILTERS, anything, anything)


def test_a_refused_subscription_costs_only_itself(consumer: Consumer) -> None:
    wrong: dict[str, MqttError] = {FILTERS[1]: SubscriptionError("not authorised")}
    assert subscribe(consumer, wrong) == [FILTERS[0], FILTERS[2]]
    assert metrics.subscriptions_refused._value.get() == 1
    assert subscribe(consumer, {}) == FILTERS, "it is asked for again at the next connection"
    assert metrics.subscriptions_refused._value.get() == 0


def test_without_readings_there_is_nothing_to_do(consumer: Consumer) -> None:
    with pytest.raises(SubscriptionError):
        subscribe(consumer, {FILTERS[0]: SubscriptionError("not authorised")})


def test_a_broker_that_hangs_up_at_a_subscription_is_not_asked_a_third_time(consumer: Consumer) -> None:
    wrong = {FILTERS[2]: MqttError("disconnected: Not authorized")}
    for _ in range(2):
        with pytest.raises(MqttError):
            subscribe(consumer, wrong)
    assert subscribe(consumer, wrong) == FILTERS[:2]


def test_an_outage_now_and_then_is_not_held_against_a_filter(consumer: Consumer) -> None:
    for _ in range(3):
        with pytest.raises(MqttError):
            subscribe(consumer, {FILTERS[2]: MqttError("lost")})
        assert subscribe(consumer, {}) == FILTERS


def test_what_came_in_a_session_that_the_broker_lost_is_kept_at_every_reconnect_that_follows() -> None:
    """The broker sends again what came since its session began, and nothing from before."""
    taken: list[Delivery] = []
    forgotten: list[int] = []
    pipeline: Any = SimpleNamespace(receive=taken.append, forget_undecoded=forgotten.append, full=False)
    consumer = Consumer(FILTERS, pipeline, cast(Any, None))
    for session_present, messages in ((False, 1), (True, 1), (False, 1), (True, 0), (True, 1)):
        connection: Any = SimpleNamespace(session_present=session_present, acknowledge=lambda *_: None)
        consumer._begin(connection)
        for _ in range(messages):
            consumer._received(connection, cast(Any, SimpleNamespace(topic="dev/a", payload=b"", packet_id=1)))
    assert [one.session for one in taken] == [1, 1, 2, 2]
    assert forgotten == [1, 2, 2]


def test_it_is_subscribed_once_the_broker_has_said_so() -> None:
    """Before, the broker would keep nothing for us, and `/ready` must not say otherwise."""
    seen: list[bool] = []

    async def wait(_: object) -> None:
        await asyncio.Event().wait()

    async def scenario() -> None:
        asked, answered = asyncio.Event(), asyncio.Event()

        async def subscribe(_: str) -> None:
            asked.set()
            await answered.wait()

        connection, receipts, pipeline = (
            SimpleNamespace(subscribe=subscribe, session_present=False, acknowledge=lambda *_: None),
            SimpleNamespace(run=wait),
            SimpleNamespace(),
        )
        consumer = Consumer(FILTERS[:1], cast(Any, pipeline), cast(Any, receipts))
        serving = asyncio.create_task(consumer._serve(cast(Any, connection)))
        await asked.wait()
        seen.append(consumer.subscribed)
        answered.set()
        while not consumer.subscribed:
            await asyncio.sleep(0)
        serving.cancel()
        await asyncio.wait({serving})
        seen.append(consumer.subscribed)

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert seen == [False, False]
