"""Kills parts of the line, in turn and at random moments, and starts them again."""

import random
import signal
import threading
import time

from tests.parts import Mosquitto, Nexus, Postgres

Mortal = Mosquitto | Postgres | Nexus

PAUSES = (0.5, 2.0)  # seconds between two deaths


class Deaths:
    """While entered, each of these dies once a round. A broker dies of `broker_signal`."""

    def __init__(self, *mortals: Mortal, seed: int, broker_signal: signal.Signals = signal.SIGKILL) -> None:
        self._counts = dict.fromkeys(mortals, 0)
        self._chance = random.Random(seed)
        self._broker_signal = broker_signal
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def rounds(self) -> int:
        """In which each of them has died."""
        return min(self._counts.values())

    def __enter__(self) -> "Deaths":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        victims = list(self._counts)
        while True:
            self._chance.shuffle(victims)
            for victim in victims:
                if self._over.wait(self._chance.uniform(*PAUSES)):
                    return
                self._kill(victim, self._chance.uniform(0, 1))
                self._counts[victim] += 1

    def _kill(self, victim: Mortal, pause: float) -> None:
        match victim:
            case Postgres():
                victim.stop("immediate")
            case Mosquitto():
                victim.stop(self._broker_signal)
            case Nexus():
                victim.stop(signal.SIGKILL)
        time.sleep(pause)
        if isinstance(victim, Nexus):
            victim.restart()
        else:
            victim.start()
