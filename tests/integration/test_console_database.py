"""The console and a database that is busy, or hangs: one person's queries and an outage cost the others little."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg

from console.access.person import Role
from tests.consoles import Browser, Console, add_key, add_user
from tests.parts import Postgres, until


@contextmanager
def serving(folder: Path, url: str, **settings: str) -> Iterator[Console]:
    console = Console(folder, url, **settings).until_serving()
    try:
        yield console
    finally:
        console.process.kill()
        console.process.wait()


def test_one_persons_queries_leave_the_others_and_logins_their_connections(tmp_path: Path, database: str) -> None:
    vera, otto = add_key(database, "vera", Role.viewer), add_key(database, "otto", Role.viewer)
    add_user(database, "edda", Role.engineer)
    with (
        serving(tmp_path, database, console_connections="7") as console,
        psycopg.connect(database) as lock,
        ThreadPoolExecutor(8) as threads,
    ):
        until(lambda: console.get("/ready")[0] == 200, "it is ready")
        lock.execute("LOCK TABLE rejects")
        asked = [threads.submit(Browser(console.web, vera).ask, "GET", "rejects") for _ in range(4)]
        until(lambda: any(one.done() for one in asked), "one is refused")
        refused = next(one.result() for one in asked if one.done())
        assert (refused.status, refused.headers["retry-after"]) == (429, "5")
        assert "your queries" in refused.json["detail"]
        assert Browser(console.web, otto).ask("GET", "last?topic=dev/a/b/t").status == 200
        assert Browser(console.web).log_in("edda").status == 200
        assert console.get("/ready")[0] == 200
        more = [threads.submit(Browser(console.web, otto).ask, "GET", "rejects") for _ in range(2)]
        until(lambda: console.metric("nexus_console_database_connections") == 4, "all are taken")
        busy = Browser(console.web, add_key(database, "third", Role.viewer)).ask("GET", "last?topic=dev/a/b/t")
        assert (busy.status, busy.json["title"]) == (503, "The console is busy")
        lock.rollback()
        assert {one.result().status for one in more} == {200}


def test_of_a_database_that_hangs_the_plant_is_shown_without_it(tmp_path: Path, postgres: Postgres) -> None:
    key = add_key(postgres.url, "vera", Role.viewer)
    with serving(tmp_path, postgres.url, console_query_seconds="1") as console:
        own = Browser(console.web, key)
        assert own.ask("GET", "devices").json["database"]["connected"] is True
        with hanging(postgres):
            until(lambda: own.ask("GET", "devices").json["database"]["since"], "it says since when it is away")
            plant = own.ask("GET", "devices").json
            assert "database" in plant["missing"]
            assert not plant["database"]["connected"]
            assert own.ask("GET", "last?topic=dev/a/b/t").status == 503
            assert console.get("/ready")[0] == 503
        until(lambda: own.ask("GET", "devices").json["database"]["connected"], "it is back")
        assert own.ask("GET", "last?topic=dev/a/b/t").status == 200


@contextmanager
def hanging(server: Postgres) -> Iterator[None]:
    """Takes connections and answers nothing."""
    pid = int((server.data / "postmaster.pid").read_text().split()[0])
    pids = [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in pids:
            os.kill(one, signal.SIGCONT)
