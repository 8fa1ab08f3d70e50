"""TLS from end to end, and certificates that are renewed while everything runs."""

import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import trustme

from tests.integration.test_end_to_end import Plant, query
from tests.parts import Mosquitto, Nexus, Postgres, until

Start = Callable[..., Nexus]


class Certificates:
    """Files of an authority, a server and two clients; `renew` replaces all of them by those of another authority."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        folder.chmod(0o755)
        self.renew()

    def renew(self) -> None:
        authority = trustme.CA()
        self._write("ca.crt", authority.cert_pem.bytes())
        for name in ("server", "gateway", "ingestion"):
            made = authority.issue_cert("127.0.0.1" if name == "server" else name, common_name=name)
            self._write(f"{name}.crt", b"".join(blob.bytes() for blob in made.cert_chain_pems))
            self._write(f"{name}.key", made.private_key_pem.bytes())

    def _write(self, name: str, data: bytes) -> None:
        new = self.folder / f".{name}"
        new.write_bytes(data)
        new.chmod(0o644)
        new.replace(self.folder / name)

    def of(self, client: str) -> dict[str, str]:
        """Settings of a client."""
        return {
            "mqtt_ca_file": str(self.folder / "ca.crt"),
            "mqtt_cert_file": str(self.folder / f"{client}.crt"),
            "mqtt_key_file": str(self.folder / f"{client}.key"),
        }


@pytest.fixture
def certificates(broker_folder: Path, tmp_path: Path) -> Certificates:
    return Certificates(broker_folder / tmp_path.name)


@pytest.fixture
def secured(mosquitto: Callable[..., Mosquitto], certificates: Certificates) -> Mosquitto:
    """A broker that takes nobody without a certificate, and knows production's users by it."""
    folder = certificates.folder
    return mosquitto(
        f"cafile {folder}/ca.crt\ncertfile {folder}/server.crt\nkeyfile {folder}/server.key\n"
        "require_certificate true\nuse_identity_as_username true"
    )


def test_certificates_of_the_broker_and_its_clients_are_renewed_without_a_restart(
    nexus: Start, secured: Mosquitto, certificates: Certificates, database: str, tmp_path: Path
) -> None:
    plant = Plant(tmp_path)
    url = secured.url.replace("mqtt://", "mqtts://")
    nexus("simulate", str(plant.simulation))
    ingester = nexus("ingest", mqtt_url=url, database_url=database, batch_seconds="0.1", **certificates.of("ingestion"))
    gateway = nexus("gateway", "--devices", str(plant.devices), mqtt_url=url, **certificates.of("gateway"))
    count = "SELECT count(*) FROM metrics"
    until(lambda: query(database, count)[0][0] > 20, "rows")
    certificates.renew()
    secured.stop()
    secured.start()  # it knows the new authority only: the old certificates are worth nothing
    for one in (gateway, ingester):
        until(lambda one=one: one.get("/ready")[0] == 200, "it is connected again", 30)
    before = query(database, count)[0][0]
    until(lambda: query(database, count)[0][0] > before + 20, "rows after it")
    assert all(one.process.poll() is None for one in (gateway, ingester))


def test_who_has_no_certificate_waits_and_says_why(
    nexus: Start, secured: Mosquitto, certificates: Certificates, database: str
) -> None:
    url = secured.url.replace("mqtt://", "mqtts://")
    keys = {"mqtt_ca_file": certificates.of("x")["mqtt_ca_file"]}
    ingester = nexus("ingest", mqtt_url=url, database_url=database, **keys)
    until(
        lambda: [one for one in ingester.events() if one["event"] == "broker away"] or None,
        "it is said",
    )
    assert ingester.get("/ready")[0] == 503


@pytest.fixture
def secured_postgres(postgres: Postgres, certificates: Certificates) -> Postgres:
    """Speaks TLS; of a build that can."""
    data = Path(str(psycopg_setting(postgres.url, "data_directory")))
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for name in ("cert", "key"):
            path = data / f"server.{name}"
            suffix = {"cert": "crt", "key": "key"}[name]
            _copy(certificates.folder / f"server.{suffix}", path)
            connection.execute(f"ALTER SYSTEM SET ssl_{name}_file = '{path.name}'")
        try:
            connection.execute("ALTER SYSTEM SET ssl = on")
        except psycopg.errors.InvalidParameterValue:
            pytest.skip("this PostgreSQL was built without TLS: name one that can in NEXUS_TEST_POSTGRES_BIN")
        connection.execute("SELECT pg_reload_conf()")
    return postgres


def psycopg_setting(url: str, name: str) -> object:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]  # type: ignore[index]


def _copy(source: Path, target: Path) -> None:
    """As the server's own file: PostgreSQL takes no key that others can read."""
    owner = target.parent.stat()
    target.unlink(missing_ok=True)
    target.write_bytes(source.read_bytes())
    target.chmod(0o600)
    os.chown(target, owner.st_uid, owner.st_gid)


def fingerprint(port: int) -> bytes:
    """Of the certificate that a PostgreSQL shows now."""
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
        if plain.recv(1) != b"S":
            return b""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with context.wrap_socket(plain) as secured:
            return secured.getpeercert(binary_form=True) or b""


def test_the_database_is_verified_and_its_certificate_renewed_without_a_restart(
    nexus: Start,
    mosquitto: Callable[..., Mosquitto],
    secured_postgres: Postgres,
    certificates: Certificates,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant, broker, server = Plant(tmp_path), mosquitto(), secured_postgres
    plain = server.url
    until(lambda: fingerprint(server.port), "the server speaks TLS")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(certificates.folder / "ca.crt"))
    nexus("simulate", str(plant.simulation))
    ingester = nexus("ingest", mqtt_url=broker.url, database_url=plain, batch_seconds="0.1").until_ready()
    nexus("gateway", "--devices", str(plant.devices), mqtt_url=broker.url).until_ready()
    count = "SELECT count(*) FROM metrics"
    until(lambda: query(plain, count)[0][0] > 20, "rows")
    not_secured = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_port > 0 AND NOT ssl"
    assert query(plain, not_secured) == [(0,)]

    old, data = fingerprint(server.port), Path(str(psycopg_setting(plain, "data_directory")))
    other = psycopg.connect(plain, autocommit=True)
    certificates.renew()
    for name, suffix in (("cert", "crt"), ("key", "key")):
        _copy(certificates.folder / f"server.{suffix}", data / f"server.{name}")
    other.execute("SELECT pg_reload_conf()")
    until(lambda: fingerprint(server.port) != old, "the new certificate is shown")
    other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE client_port > 0 AND pid <> pg_backend_pid()"
    )
    other.close()
    before = query(plain, count)[0][0]
    until(lambda: query(plain, count)[0][0] > before + 20, "rows after it")
    assert ingester.process.poll() is None

    wrong = plain.replace("127.0.0.1", "localhost")
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        psycopg.connect(wrong)
