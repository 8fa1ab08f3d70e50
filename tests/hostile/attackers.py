"""Hostile and merely clumsy neighbours: each runs in a thread of its own until it is told to stop."""

import os
import random
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import paho.mqtt.client as paho
import psycopg
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.hostile.corpus import cases, variant

Attack = Callable[[threading.Event, random.Random], None]


def attacker(port: int, user: str) -> paho.Client:
    """A client with a user's password, which comes back when the broker throws it out."""
    client = paho.Client(CallbackAPIVersion.VERSION2, f"hostile-{random.getrandbits(32):x}", protocol=paho.MQTTv5)
    client.username_pw_set(user, f"secret-{user}")
    client.reconnect_delay_set(1, 1)
    client.suppress_exceptions = True
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    return client


def _thrower(port: int, user: str, throw: Callable[[paho.Client, random.Random], None]) -> Attack:
    def run(stop: threading.Event, rng: random.Random) -> None:
        client = attacker(port, user)
        try:
            while not stop.wait(0.01):
                if client.is_connected():
                    with suppress(ValueError, UnicodeError):  # the library itself refuses some topics
                        throw(client, rng)
        finally:
            client.disconnect()
            client.loop_stop()

    return run


def messages(port: int, user: str) -> Attack:
    """The corpus and variants of it, as readings."""
    known = cases()

    def throw(client: paho.Client, rng: random.Random) -> None:
        case = rng.choice(known)
        payload = case.payload if rng.random() < 0.1 else variant(case, rng)
        client.publish(case.topic, payload, qos=rng.randrange(3), retain=rng.random() < 0.02)

    return _thrower(port, user, throw)


def receipts(port: int, user: str, names: list[str]) -> Attack:
    """Receipts for what nobody sent, and offers that nobody keeps."""
    payloads = (
        b"[[1,1000000000]]",
        b"[[-99999999999999999999,0]]",
        b"[[0,9223372036854775807]]",
        b"[[9,1]]",
        b"[[1.5,2]]",
        b'[["a","b"]]',
        b"[" * 5000,
        b"[[" + b"9" * 5000 + b",1]]",
        b"\xff",
        b"",
    )

    def throw(client: paho.Client, rng: random.Random) -> None:
        client.publish(f"receipt/{rng.choice(names)}", rng.choice(payloads), qos=1)
        if rng.random() < 0.05:
            client.publish("receipt-offer/hostile", rng.choice((b"", b"x", b"{}", b'{"state":"online"}')), qos=1)

    return _thrower(port, user, throw)


def presences(port: int, user: str, group: str) -> Attack:
    """Members of the gateways' group that do not exist, or claim what cannot be."""
    payloads = (
        b'{"state":"online","id":"x","lease":1e9}',
        b'{"state":"online","id":"x","lease":1e9,"devices":["plant/tag","plant/device"],"view":[]}',
        b'{"state":"lost","id":"","lease":-5}',
        b'{"state":"online"}',
        b"[" * 5000,
        b"\xff\xfe",
        b"{}",
        b"",
    )

    def throw(client: paho.Client, rng: random.Random) -> None:
        member = rng.choice((user, f"{user}/x", "gateway-0", "nobody", "é" * 50))
        client.publish(f"gateway/{group}/{member}", rng.choice(payloads), qos=1, retain=rng.random() < 0.5)

    return _thrower(port, user, throw)


def commands(port: int, user: str, device: str, tags: tuple[str, ...]) -> Attack:
    """Writes that must not happen, with answers that must not go where they ask."""
    values = (
        "1e308",
        "9" * 400,
        "-1",
        "2.5",
        '"off"',
        '"false"',
        "null",
        "[]",
        "{}",
        "true",
        "1e999",
        '"\\ud800"',
        "NaN",
    )
    answers = (
        "dev/plant/tag/count",
        "cmd/plant/tag/setpoint",
        "receipt/x",
        "answer/#",
        "",
        "answer",
        "a\0b",
        "answer/me",
    )

    def throw(client: paho.Client, rng: random.Random) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        with suppress(Exception):
            properties.ResponseTopic = rng.choice(answers)
            properties.CorrelationData = rng.randbytes(rng.choice((0, 1, 8, 5000)))
            properties.UserProperty = ("by", "h" * rng.choice((1, 5000)))
        value = rng.choice(values)
        body = rng.choice((f'{{"v":{value}}}', f'{{"v":{value},"ts":1}}', value, "[" * 5000, "")).encode()
        topic = f"cmd/{device}/{rng.choice((*tags, 'none', ''))}"
        client.publish(topic, body, qos=rng.randrange(3), retain=rng.random() < 0.1, properties=properties)

    return _thrower(port, user, throw)


def alarms(port: int, user: str, device: str) -> Attack:
    """Words of alarms that are none, in the name of a device's gateway."""
    payloads = (b"", b"{}", b"[" * 5000, b"\xff", b'{"state": "normal"}', b'{"p": "' + b"0" * 32 + b'", "n": 1}')
    names = ("count/odd", "count/none", "none", "count/odd/more", "")

    def throw(client: paho.Client, rng: random.Random) -> None:
        client.publish(f"alarm/{device}/{rng.choice(names)}", rng.choice(payloads), 1, retain=rng.random() < 0.5)

    return _thrower(port, user, throw)


def alarm_requests(port: int, user: str, device: str) -> Attack:
    """Requests that must not be done, with answers that must not go where they ask."""
    actions = ('"acknowledge"', '"shelve"', '"explode"', "null", "1", '"comment"')
    more = ("", ', "by": ""', ', "by": "a\\u0000"', ', "seconds": 1e999', ', "occurrence": 1', ', "reason": [1]')

    def throw(client: paho.Client, rng: random.Random) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        with suppress(Exception):
            properties.ResponseTopic = rng.choice(("alarm/plant/tag/count/odd", "answer/me", "", "a\0b"))
            properties.CorrelationData = rng.randbytes(rng.choice((0, 8, 5000)))
        body = rng.choice((f'{{"action": {rng.choice(actions)}{rng.choice(more)}}}', "[" * 5000, "", "{}")).encode()
        topic = f"ack/{device}/{rng.choice(('count/odd', 'odd', 'none', 'count/', ''))}"
        client.publish(topic, body, qos=rng.randrange(3), retain=rng.random() < 0.1, properties=properties)

    return _thrower(port, user, throw)


def http(ports: list[int]) -> Attack:
    """Requests that are never finished, floods of pages, and words that are no HTTP."""

    def run(stop: threading.Event, rng: random.Random) -> None:
        half: list[socket.socket] = []
        while not stop.wait(0.005):
            port = rng.choice(ports)
            with suppress(OSError, urllib.error.URLError, ValueError):
                if rng.random() < 0.5:
                    one = socket.create_connection(("127.0.0.1", port), 0.5)
                    one.sendall(
                        rng.choice((b"GET /metr", b"POST / HTTP/1.1\r\nContent-Length: 999999999\r\n\r\nx", b"\0" * 99))
                    )
                    half.append(one)
                else:
                    path = rng.choice(
                        ("/metrics", "/health", "/../etc/passwd", "/api/devices", "/%00", "/" + "x" * 9000)
                    )
                    host = rng.choice(("evil.example", "127.0.0.1", "localhost"))
                    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Host": host})
                    urllib.request.urlopen(request, timeout=0.5).read()
            if len(half) > 400:
                half.pop(0).close()
        for one in half:
            one.close()

    return run


def files(folder: Path, good: Path, corpus: list[Path]) -> Attack:
    """Wrong device files where the right ones were, and the right ones again."""

    def run(stop: threading.Event, rng: random.Random) -> None:
        keep = good.read_bytes()
        while not stop.wait(1.5):
            new = folder / ".new"
            shutil.copyfile(rng.choice(corpus), new)
            new.rename(good)
            if rng.random() < 0.2:
                with suppress(FileExistsError):
                    os.mkfifo(folder / "pipe.yaml")
            stop.wait(1.5)
            new.write_bytes(keep)
            new.rename(good)
            (folder / "pipe.yaml").unlink(missing_ok=True)

    return run


def database(owner: str) -> Attack:
    """An administrator who ends connections, and takes locks for a moment."""

    def run(stop: threading.Event, rng: random.Random) -> None:
        ending = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND random() < 0.5"
        )
        while not stop.wait(2 + 2 * rng.random()):
            with suppress(psycopg.Error), psycopg.connect(owner) as connection:
                if rng.random() < 0.7:
                    connection.execute(ending)
                else:
                    connection.execute("LOCK TABLE metrics IN ACCESS EXCLUSIVE MODE")
                    time.sleep(0.5)

    return run


class Attacks:
    """All of them at once, while the block runs."""

    def __init__(self, attacks: dict[str, Attack], seed: int) -> None:
        self._stop = threading.Event()
        self._failed: list[str] = []
        self._threads = [
            threading.Thread(target=self._run, args=(name, attack, random.Random(f"{seed} {name}")), name=name)
            for name, attack in attacks.items()
        ]

    def _run(self, name: str, attack: Attack, rng: random.Random) -> None:
        try:
            attack(self._stop, rng)
        except Exception as error:  # an attacker that has given up proves nothing
            self._failed.append(f"{name}: {error!r}")

    def __enter__(self) -> "Attacks":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        assert self._failed == []
