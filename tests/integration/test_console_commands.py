"""`nexus console user` and `nexus console key`, and what the console does without anybody who could log in."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from tests import forked
from tests.consoles import PASSWORD, Browser, Console
from tests.integration.test_writer import query
from tests.parts import Postgres, as_role, ended_with_block, until


def run(url: str, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NEXUS_")}
    environment["NEXUS_DATABASE_URL"] = as_role(url, "nexus_console")
    return forked.run(["console", *words], environment, stdin or "")


def change(url: str, text: LiteralString) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(text)


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    return file


@pytest.fixture
def console(tmp_path: Path, database: str) -> Iterator[Console]:
    """Not yet started: whoever enters it has to wait for it."""
    with ended_with_block(one := Console(tmp_path, database)):
        yield one


def test_without_users_it_ends_and_says_how_to_make_one(console: Console) -> None:
    assert console.process.wait(60) == 2
    assert "nexus console user add NAME --role engineer" in console.log.read_text()


def test_a_database_that_is_away_or_not_migrated_at_the_start_is_waited_for(postgres: Postgres, tmp_path: Path) -> None:
    change(postgres.url, "ALTER TABLE console_keys RENAME TO not_yet")
    postgres.stop()
    with ended_with_block(console := Console(tmp_path, postgres.url)):
        until(lambda: "waiting for the database" in console.log.read_text() or console.ended(), "it waits")
        postgres.start()
        until(lambda: "run `nexus db migrate`" in console.log.read_text() or console.ended(), "it says so")
        change(postgres.url, "ALTER TABLE not_yet RENAME TO console_keys")
        assert console.process.wait(60) == 2  # nobody is there yet


def test_users_are_made_listed_changed_and_removed(database: str, password: Path) -> None:
    made = run(database, "user", "add", "Anna", "--role", "engineer", "--password-file", str(password))
    assert (made.returncode, made.stdout) == (0, "anna can log in, as engineer\n"), made.stderr
    again = run(database, "user", "add", "anna", "--role", "viewer", "--password-file", str(password))
    assert (again.returncode, "there is a user 'anna' already" in again.stderr) == (2, True)
    unneeded = ("--role", "engineer", "--password-file", "/nowhere", "--if-none")
    assert "nothing to do" in run(database, "user", "add", "admin", *unneeded).stdout
    assert run(database, "user", "role", "anna", "operator").returncode == 0
    changed = run(database, "user", "password", "anna", "--password-file", "-", stdin="another one of these\n")
    assert changed.returncode == 0, changed.stderr
    assert run(database, "user", "list").stdout.splitlines()[1].split()[:2] == ["anna", "operator"]
    assert run(database, "user", "remove", "anna").returncode == 0
    assert (gone := run(database, "user", "remove", "anna")).returncode == 2
    assert "there is no user 'anna'" in gone.stderr
    rows = query(database, "SELECT event, via, old, new FROM console_audit ORDER BY id")
    assert rows == [
        ("user added", "command", None, {"name": "anna", "role": "engineer"}),
        ("user changed", "command", {"role": "engineer"}, {"role": "operator"}),
        ("user changed", "command", {"role": "operator"}, {"role": "operator"}),
        ("user removed", "command", {"name": "anna", "role": "operator"}, None),
    ]


WRONG = {
    ("user", "add", "a b", "--role", "viewer"): "a name has at most 64",
    ("user", "add", "anna", "--role", "admin"): "must be one of viewer, operator, engineer",
    ("user", "add", "anna", "--role", "viewer"): "give it with --password-file",
    ("user", "add", "anna", "--role", "viewer", "--password-file", "/nowhere"): "cannot read /nowhere",
    ("user", "add", "anna", "--role", "viewer", "--password-file", "-"): "the password is empty",
    ("user", "password", "nobody", "--password-file", "{file}"): "there is no user 'nobody'",
    ("key", "add", "mes", "--role", "viewer", "--expires", "soon"): "'soon' is not a duration",
    ("key", "revoke", "mes"): "there is no key 'mes'",
}


def test_what_cannot_be_is_refused_with_the_remedy(database: str, password: Path) -> None:
    for words, said in WRONG.items():
        done = run(database, *(word.format(file=password) for word in words))
        assert (done.returncode, said in done.stderr) == (2, True), (words, done.stderr)


def test_on_a_terminal_the_password_is_asked_for_twice_and_not_shown(database: str) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "NEXUS_DATABASE_URL": as_role(database, "nexus_console")}
    command = [sys.executable, "-m", "nexus", "console", "user", "add", "anna", "--role", "viewer"]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        for question in (b"Password: ", b"confirmation: "):
            while not shown.endswith(question):
                shown += os.read(ours, 1000)
            os.write(ours, f"{PASSWORD}\n".encode())
        while b"anna can log in" not in shown:
            shown += os.read(ours, 1000)
        assert process.wait(30) == 0
    os.close(ours)
    assert PASSWORD.encode() not in shown


def test_a_key_stands_alone_on_standard_output_and_is_good_until_it_is_revoked(database: str, tmp_path: Path) -> None:
    made = run(database, "key", "add", "mes", "--role", "viewer", "--expires", "90d")
    [key] = made.stdout.splitlines()
    assert key not in made.stderr
    with ended_with_block(console := Console(tmp_path, database).until_serving()):
        program = Browser(console.web, key=key)
        assert program.ask("GET", "session").json["name"] == "mes"
        listed = run(database, "key", "list").stdout
        assert "mes" in listed
        assert key.rpartition("_")[2] not in listed + str(query(database, "SELECT hash::text FROM console_keys"))
        assert run(database, "key", "revoke", "mes").returncode == 0
        until(lambda: program.ask("GET", "session").status == 401, "it is refused")
