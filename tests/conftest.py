"""Fixtures: brokers, databases of each tier, and processes."""

import fcntl
import itertools
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from db.migrate import connect, migrate
from db.settings import Settings as DatabaseSettings
from gateway.drivers.installed import installed
from nexus.cli import embedded
from tests import parts
from tests.conformance.packages import Site
from tests.deploy.stand_ins.broker import configured
from tests.lease_api import LeaseApi
from tests.parts import ANYBODY, OPEN_PORTS, Mosquitto, Nexus, Postgres, as_role, as_user, secret

RULES = Path(__file__).parents[1] / "infrastructure/docker/emqx/acl.conf"
# A gateway's user names its member of a group: `gateway/{group}/{user}` is all that it may say of itself.
USERS = (
    *("gateway", "gateway-0", "gateway-1", "gateway-2", "gateway-press"),
    *("ingestion", "rules", "viewer", "operator", "console"),
)

# Of the commands that have one in production: the database's role, and the broker's user.
MEASURED = "COVERAGE_PROCESS_CONFIG" in os.environ  # a process that is killed tells nothing of what it ran

ROLES = {
    "ingest": "nexus_writer",
    "verify": "nexus_reader",
    "db monitor": "nexus_reader",
    "console": "nexus_console",
    "rules": "nexus_rules",
}
COMMAND_USERS = {"gateway": "gateway", "load": "gateway", "ingest": "ingestion", "rules": "rules", "console": "console"}

_numbers = itertools.count()

hypothesis.settings.register_profile("any machine", deadline=None)  # a busy one is slow, and no example is to blame
hypothesis.settings.load_profile("any machine")


WORKER = "PYTEST_XDIST_WORKER" in os.environ
# Files that workers lock, and do not write: who waits for a turn, all tests that run, those on a server of all workers.
TURNSTILE, RUNNING, SHARED = Path(__file__).parents[1] / "pyproject.toml", Path(__file__), Path(parts.__file__)


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    with path.open() as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a child may have inherited it


def on_a_shared_server(item: pytest.Item) -> bool:
    """TimescaleDB's roles, an EMQX of one's own and the images are there once for all workers."""
    emqx = "NEXUS_TEST_EMQX" in os.environ and {"production", "emqx"} & set(getattr(item, "fixturenames", ()))
    return bool(emqx) or any(item.get_closest_marker(name) for name in ("timescale", "docker"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On several workers tests that measure come last."""
    if WORKER:
        items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """On several workers: tests on a shared server run one by one, and one that measures while no other runs."""
    if not WORKER:
        return (yield)
    with ExitStack() as until_its_end:
        if on_a_shared_server(item):
            until_its_end.enter_context(locked(SHARED, fcntl.LOCK_EX))
        with locked(TURNSTILE, fcntl.LOCK_EX):  # nobody overtakes a test that waits for all others
            how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
            until_its_end.enter_context(locked(RUNNING, how))
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def state_folder() -> Iterator[None]:
    """Nothing is written into the user's own folders."""
    with tempfile.TemporaryDirectory(prefix="nexus-test-") as name:
        os.environ["NEXUS_STATE_DIR"] = os.environ["XDG_STATE_HOME"] = name
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests that are coroutines run on asyncio, each in a loop of its own."""
    return "asyncio"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Where packages with drivers are installed, for one test."""
    yield Site(tmp_path / "site", monkeypatch)
    installed.cache_clear()


@pytest.fixture(scope="session")
def broker_folder() -> Iterator[Path]:
    # Not pytest's own, which only root can read: Mosquitto started by root becomes another user.
    with tempfile.TemporaryDirectory(prefix="nexus-test-") as name:
        folder = Path(name)
        folder.chmod(0o1777)
        yield folder


@pytest.fixture(scope="session")
def shared_mosquitto(broker_folder: Path) -> Iterator[Mosquitto]:
    """One that takes anybody, for tests of our client."""
    broker = Mosquitto(broker_folder, ANYBODY).start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def users_and_acl(broker_folder: Path) -> str:
    """The settings of a broker that knows production's users by their passwords, and what each of them may."""
    folder = broker_folder / "users"
    folder.mkdir()
    folder.chmod(0o755)
    configured(folder, {user: secret(user) for user in USERS}, RULES.read_text())
    return f"allow_anonymous false\npassword_file {folder}/passwords\nacl_file {folder}/acl"


@pytest.fixture
def mosquitto(broker_folder: Path, users_and_acl: str) -> Iterator[Callable[..., Mosquitto]]:
    """Makes brokers: of one's own, to be stopped and spoilt. `access` is who may what, as in production by default."""
    started: list[Mosquitto] = []

    def make(lines: str = "", access: str = users_and_acl) -> Mosquitto:
        started.append(Mosquitto(broker_folder, f"{access}\n{lines}").start())
        return started[-1]

    yield make
    for broker in started:
        broker.stop()


@pytest.fixture
def persistent_mosquitto(mosquitto: Callable[..., Mosquitto], broker_folder: Path) -> Mosquitto:
    """One that keeps its sessions over a restart: what it acknowledged is then its own to deliver."""
    kept = broker_folder / f"kept-{next(_numbers)}"
    kept.mkdir()
    kept.chmod(0o777)
    return mosquitto(f"persistence true\npersistence_location {kept}/")


@pytest.fixture(scope="session")
def embedded_postgres() -> Iterator[str]:
    """The URL of a plain PostgreSQL's maintenance database."""
    with tempfile.TemporaryDirectory(prefix="nexus-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with embedded.running(folder) as server:
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("ALTER SYSTEM SET fsync = off")  # nobody pulls this machine's plug
                connection.execute("SELECT pg_reload_conf()")
            yield server.url


@pytest.fixture(scope="session")
def template(embedded_postgres: str) -> str:
    """The name of a database with the newest schema: to copy it takes a fraction of the time that migrating does."""
    name = "nexus_test_template"
    with psycopg.connect(embedded_postgres, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrated(make_conninfo(embedded_postgres, dbname=name))
    return name


@pytest.fixture(scope="session")
def migrated_data() -> Iterator[Path]:
    """The data of a server that was stopped, with the schema in its database `postgres`."""
    with tempfile.TemporaryDirectory(prefix="nexus-test-", ignore_cleanup_errors=True) as name:
        server = Postgres(Path(name))
        with connect(server.url) as connection:
            migrate(connection, DatabaseSettings(ingest_mode=os.environ.get("NEXUS_TEST_INGEST_MODE", "exact")))
        server.stop()
        yield server.data


@pytest.fixture
def postgres(migrated_data: Path) -> Iterator[Postgres]:
    """A server of one's own, with the schema in its database `postgres`."""
    with tempfile.TemporaryDirectory(prefix="nexus-test-", ignore_cleanup_errors=True) as name:
        server = Postgres(Path(name), migrated_data)
        yield server
        with suppress(AssertionError):
            server.stop("immediate")


# Where the tiers that no wheel carries are found. The licence is a setting of the whole server, so there are two.
SERVERS = {"community": "NEXUS_TEST_DATABASE_URL", "apache": "NEXUS_TEST_APACHE_DATABASE_URL"}


TIERS = [
    "plain",
    pytest.param("apache", marks=pytest.mark.timescale),
    pytest.param("community", marks=pytest.mark.timescale),
]


@contextmanager
def new_database(server: str, template: str = "template0") -> Iterator[str]:
    """The URL of a database on this server, a copy of another, that is there as long as the block runs."""
    name = f"nexus_test_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server, autocommit=True) as connection:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        connection.execute(made)
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _new_database(request: pytest.FixtureRequest, *, with_schema: bool = False) -> Iterator[str]:
    """Of the tier that the test is parametrised with, or plain; only that tier's can have the schema from the start."""
    tier = getattr(request, "param", "plain")
    template = "template0"
    if tier == "plain":
        server = request.getfixturevalue("embedded_postgres")
        if with_schema:
            template = request.getfixturevalue("template")
    elif (server := os.environ.get(SERVERS[tier])) is None:
        pytest.skip(f"{SERVERS[tier]} names no TimescaleDB server of the tier {tier}")
    with new_database(server, template) as url:
        yield url


@pytest.fixture
def empty_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a new database; without a schema, unless the test asks for `database`."""
    yield from _new_database(request, with_schema="database" in request.fixturenames)


@pytest.fixture
def other_database(request: pytest.FixtureRequest) -> Iterator[str]:
    """As empty_database, and another one, on a server of its own tier."""
    yield from _new_database(request)


@pytest.fixture
def database(empty_database: str) -> str:
    """The URL of a new database with the newest schema."""
    return migrated(empty_database)


def migrated(url: str) -> str:
    """The same database with the newest schema."""
    with connect(url) as connection:
        migrate(connection, DatabaseSettings())
    return url


@dataclass(frozen=True)
class Production:
    """A broker with production's users and ACL, and a database with its roles; `owner` is for the test alone."""

    broker: Mosquitto
    owner: str
    ingestion_port: int

    def mqtt(self, user: str) -> str:
        """The broker's URL for one of USERS."""
        port = self.ingestion_port if user == "ingestion" else self.broker.port
        return as_user(f"mqtt://127.0.0.1:{port}", user)

    @property
    def writer(self) -> str:
        """The database's URL as the ingester has it."""
        return as_role(self.owner, "nexus_writer")

    @property
    def reader(self) -> str:
        """The database's URL as whoever only reads has it."""
        return as_role(self.owner, "nexus_reader")


@pytest.fixture
def production(mosquitto: Callable[..., Mosquitto], broker_folder: Path, database: str) -> Production:
    """What services run on in production; parametrise `empty_database` for another tier.

    With NEXUS_TEST_EMQX=1883,1884 on that EMQX, which has our files, and users with the passwords `secret-{user}`.
    """
    if (ports := os.environ.get("NEXUS_TEST_EMQX")) is not None:
        port, ingestion_port = map(int, ports.split(","))
        return Production(Mosquitto(broker_folder, "", port), database, ingestion_port)  # which is never started
    broker = mosquitto()
    return Production(broker, database, broker.port)


@pytest.fixture
def nexus(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Nexus]]:
    """Starts `nexus` processes, and ends them with the test; with production's rights only.

    On a broker that takes anybody only for a test that says so, and why, in its docstring.
    """
    started: list[Nexus] = []

    def start(*arguments: str, descriptors: int | None = None, **environment: str) -> Nexus:
        command = " ".join(arguments[:2]) if arguments[0] == "db" else arguments[0]
        if (role := ROLES.get(command)) is not None and "database_url" in environment:
            environment["database_url"] = as_role(environment["database_url"], role)
        if (user := COMMAND_USERS.get(command)) is not None and "mqtt_url" in environment:
            if urlsplit(environment["mqtt_url"]).port in OPEN_PORTS:
                assert "anybody" in (request.function.__doc__ or ""), "say why the broker of this test takes anybody"
            environment["mqtt_url"] = as_user(environment["mqtt_url"], user)
        settings = {f"NEXUS_{name.upper()}": value for name, value in environment.items()}
        started.append(Nexus(tmp_path, list(arguments), settings, descriptors))
        return started[-1]

    yield start
    for one in started:
        if MEASURED and one.process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                one.stop()
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LeaseApi]:
    """A stand-in of Kubernetes' API server, which processes that are started now find."""
    api = LeaseApi(tmp_path)
    for name, value in api.environment.items():
        monkeypatch.setenv(name, value)
    yield api
    api.close()
