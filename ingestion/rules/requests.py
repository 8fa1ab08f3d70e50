"""Requests about the alarms of rules, on `ack/…`: done with the next transaction, recorded, and answered after it."""

from typing import NamedTuple

from ingestion.rules import metrics
from ingestion.rules.engine import Engine, Said
from nexus import mqtt
from nexus.alarms.machine import RequestError
from nexus.contract import ack, topic
from nexus.contract.ack import ROOT, Answer, Request
from nexus.contract.codec import DecodeError
from nexus.contract.command import ANSWERS
from nexus.process import log
from nexus.process.clock import now_ms
from nexus.requests import answering
from nexus.requests.alarms import audit_payload, parse, readable
from nexus.requests.allowance import Allowance
from nexus.requests.answering import sender

REQUESTS_A_SECOND = 1000  # about one rule; what is more is counted, and nothing else
EXPIRED = "not done: the rules are still busy with what came before; ask again later"


class Target(NamedTuple):
    """An alarm; `tag` is "" for one of the rule's own."""

    path: str
    tag: str
    name: str


class AlarmRequests:
    """Does each request at most once: the broker does not keep them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._allowance = Allowance(REQUESTS_A_SECOND)
        self._log = log.get("alarms")

    def take(self, message: mqtt.Message, now: float, at: int) -> bytes | None:
        """Does what was asked `at` that moment (epoch ms), if it is of one of our alarms; gives the answer.

        `now` in seconds, of any clock.
        """
        if (target := self._target(message)) is None:
            return None
        if (beyond := self._allowance.take(target.path, now)) > 0:
            metrics.requests.labels("refused").inc()
            if beyond == 1:
                said = "too many requests about alarms: the rest are refused"
                self._log.warning(said, rule=target.path, a_second=REQUESTS_A_SECOND)
            return None
        if answering.is_misled(message):
            self._note(message, None, Answer(False, error=f"the response topic must be below {ANSWERS}"))
            return None
        return self._done(message, target, at)

    def expire(self, message: mqtt.Message) -> bytes | None:
        """Does nothing, because it is too late for it; gives the answer."""
        if self._target(message) is None or answering.is_misled(message):
            return None
        metrics.requests.labels("expired").inc()
        self._log.warning("alarm request", topic=message.topic, error=EXPIRED)
        return ack.encode_answer(Answer(False, error=EXPIRED))

    def _target(self, message: mqtt.Message) -> Target | None:
        if not message.payload:  # a topic that is cleared
            return None
        levels = message.topic.removeprefix(ROOT).split("/")
        found = [Target("/".join(levels[:-2]), *levels[-2:])] if len(levels) > 2 else []
        found.append(Target("/".join(levels[:-1]), "", levels[-1]))
        return next((one for one in found if self._engine.has(*one)), None)

    def _done(self, message: mqtt.Message, target: Target, at: int) -> bytes:
        request: Request | None = None
        try:
            request = parse(message)
            record = self._engine.ask(*target, request, at)
            answer = Answer(True, record.state, record.ts)
        except (DecodeError, RequestError) as error:
            answer = Answer(False, error=str(error))
        by = request.by if request is not None else readable(sender(message))
        audit = audit_payload(topic.alarm(*target), by, request, answer, now_ms())
        self._engine.say(Said(topic.audit(target.path, target.tag or target.name), audit))
        self._note(message, by, answer)
        return ack.encode_answer(answer)

    def _note(self, message: mqtt.Message, by: str | None, answer: Answer) -> None:
        metrics.requests.labels("done" if answer.ok else "refused").inc()
        event = self._log.info if answer.ok else self._log.warning
        event("alarm request", topic=message.topic, by=by, state=answer.state, error=answer.error)
