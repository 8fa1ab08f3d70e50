"""Rules and dashboards: each alert has its cases, and every query of every panel is asked of a real server."""

import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from db.migrate import connect, migrate
from db.settings import Settings as DatabaseSettings
from infrastructure.monitoring.generate import RULES, generated
from tests.asker import Asker
from tests.console_api import Api
from tests.parts import Mosquitto, Nexus, Postgres, free_port, publish, until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infrastructure/monitoring"
DASHBOARDS = sorted((FOLDER / "grafana/dashboards").glob("*.json"))
# Whose metrics are not there in this test: EMQX's, the kubelet's, node_exporter's.
ELSEWHERE = ("emqx_", "kubelet_", "node_")
Start = Callable[..., Nexus]


def program(name: str) -> str:
    beside = Path(os.environ.get("NEXUS_PROMETHEUS") or "/usr/bin/prometheus").with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here: apt-get install prometheus")
    return found


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def targets(file: Path) -> list[tuple[str, dict[str, Any]]]:
    return [
        (panel["title"], target)
        for panel in json.loads(file.read_text())["panels"]
        for target in panel.get("targets", [])
    ]


def test_what_is_generated_is_up_to_date() -> None:
    stale = [str(file) for file, text in generated().items() if not file.exists() or file.read_text() != text]
    assert stale == [], "run `make monitoring`"


def test_each_alert_has_a_case_in_which_it_fires_and_is_explained() -> None:
    books = ROOT / "docs/operations/runbooks"
    index = (books / "README.md").read_text()
    cases = yaml.safe_load(RULES.with_name("nexus_test.yml").read_text())["tests"]
    firing = {look["alertname"] for case in cases for look in case["alert_rule_test"] if look.get("exp_alerts")}
    silent = {look["alertname"] for case in cases for look in case["alert_rule_test"] if not look.get("exp_alerts")}
    for rule in rules():
        assert rule["alert"] in firing
        assert rule["alert"] in silent or rule["alert"] == "NexusWatchdog"
        book = (books / f"{rule['alert']}.md").read_text()
        assert rule["annotations"]["runbook_url"].endswith(f"docs/operations/runbooks/{rule['alert']}.md")
        assert "**Is data lost?**" in book
        assert re.findall(r"^## (.*)$", book, re.MULTILINE) == ["Check", "Fix", "Resolved when"]
        assert f"[{rule['alert']}]({rule['alert']}.md)" in index
        assert rule["labels"]["severity"] in {"critical", "warning", "none"}


def test_prometheus_takes_rules_and_settings() -> None:
    for arguments in (["check", "rules", "nexus.yml"], ["test", "rules", "nexus_test.yml"]):
        done = subprocess.run(
            [program("promtool"), *arguments], cwd=FOLDER / "rules", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(
        [program("promtool"), "check", "config", "prometheus.yml"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alertmanager_takes_its_settings() -> None:
    if shutil.which("amtool") is None:
        pytest.skip("no amtool here: apt-get install prometheus-alertmanager")
    done = subprocess.run(["amtool", "check-config", "alertmanager.yml"], cwd=FOLDER, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (FOLDER / "alertmanager.yml").read_text()
    named = set(re.findall(r"Nexus\w+", text))
    assert named <= {rule["alert"] for rule in rules()}


class Prometheus:
    """A real one, that scrapes what it is told every second."""

    def __init__(self, folder: Path, jobs: dict[str, str], rule_file: Path) -> None:
        self.port = free_port()
        scrapes = [
            {"job_name": job, "metrics_path": "/metrics", "static_configs": [{"targets": [target]}]}
            for job, target in jobs.items()
        ]
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rule_file)],
            "scrape_configs": scrapes,
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
        self._command = [
            program("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=error",
        ]
        self._log = folder / "prometheus.log"

    @contextmanager
    def running(self) -> Iterator["Prometheus"]:
        with self._log.open("wb") as log:
            process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            until(lambda: self._answers() or process.poll() is not None, "Prometheus answers")
            assert process.poll() is None, self._log.read_text()
            yield self
        finally:
            process.terminate()
            process.wait(20)

    def _answers(self) -> bool:
        try:
            return bool(self.get("/api/v1/query", query="1")["status"] == "success")
        except (OSError, ValueError):  # it says 503 in plain words while it starts
            return False

    def get(self, path: str, **arguments: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)  # type: ignore[no-any-return]

    def ask(self, expression: str) -> list[Any]:
        answer = self.get("/api/v1/query", query=expression)
        assert answer["status"] == "success", (expression, answer)
        return answer["data"]["result"]  # type: ignore[no-any-return]

    def firing(self) -> set[str]:
        """Names of the alerts that fire now, with their device if they have one."""
        found = self.get("/api/v1/alerts")["data"]["alerts"]
        return {
            " ".join(filter(None, (one["labels"]["alertname"], one["labels"].get("device"))))
            for one in found
            if one["state"] == "firing"
        } - {"NexusWatchdog"}


_RULES = """
rules:
  - name: line1
    path: demo/rules
    inputs: {a: demo/line1/mixer/temperature}
    tags: [{name: twice, expression: "2 * a"}]
"""


class Site:
    """The demo's plant, polled and stored, and Prometheus looking at it."""

    def __init__(self, nexus: Start, broker: Mosquitto, database: str, folder: Path, **gateway: str) -> None:
        ports = {number: free_port() for number in (5020, 4840, 10102)}
        for name in ("plant.yaml", "devices.yaml"):
            text = (files("simulators") / "demo" / name).read_text()
            for number, free in ports.items():
                text = text.replace(f"port: {number}", f"port: {free}").replace(f":{number}", f":{free}")
            (folder / name).write_text(text)
        polled = yaml.safe_load((folder / "devices.yaml").read_text())
        for device in polled["devices"]:  # so that nobody waits for the next try
            device["breaker"] = {"failures": 2, "open_for": "500ms", "max_open_for": "1s"}
        (folder / "devices.yaml").write_text(yaml.safe_dump(polled, allow_unicode=True))
        keys = {"mqtt_url": broker.url, "database_url": database}
        self.simulator = nexus("simulate", str(folder / "plant.yaml"), health_port="0")
        self.ingester = nexus("ingest", **keys, batch_seconds="0.2").until_ready()
        gateway |= {"mqtt_url": broker.url, "receipts": "ingestion"}
        self.gateway = nexus("gateway", "--devices", str(folder / "devices.yaml"), **gateway).until_ready()
        self.monitor = nexus("db", "monitor", database_url=database).until_ready()
        (folder / "rules.yaml").write_text(_RULES)
        self.rules = nexus("rules", **keys, rules=str(folder / "rules.yaml")).until_ready()
        web = str(free_port())
        self.console = nexus("console", **keys, console_insecure="1", console_port=web).until_ready()
        Api(int(web)).get("about")  # so that there is something to count
        self.jobs = {
            job: f"127.0.0.1:{process.port}"
            for job, process in (
                ("gateway", self.gateway),
                ("ingestion", self.ingester),
                ("database-monitor", self.monitor),
                ("console", self.console),
                ("rules", self.rules),
            )
        }


def asked(target: dict[str, Any]) -> str:
    """A panel's PromQL, with its variables filled in."""
    return str(target["expr"]).replace("$device", "mixer")


def sql(target: dict[str, Any], database: str) -> str:
    """A panel's SQL, with Grafana's macros and variables filled in."""
    text = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 > now() - interval '1 hour'", target["rawSql"])
    text = text.replace("$__timeFrom()", "now() - interval '1 hour'").replace("$__timeTo()", "now()")
    with psycopg.connect(database) as connection:
        topics = [topic for (topic,) in connection.execute("SELECT topic FROM topics")]
    return text.replace("$topic", ", ".join(f"'{topic}'" for topic in topics))


def test_every_query_of_every_panel_is_answered(
    nexus: Start, mosquitto: Callable[..., Mosquitto], database: str, tmp_path: Path
) -> None:
    """PromQL by a Prometheus that scrapes the services, SQL by the database that has their rows."""
    program("prometheus")
    site = Site(nexus, mosquitto(), database, tmp_path)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO rejects (topic, payload, reason) VALUES ('dev/x', '', 'a reason')")
        connection.execute(
            "INSERT INTO metrics (topic, time, value, quality) VALUES ('dev/old/t', now() - interval '1 h', 1, 192)"
        )
        connection.execute("INSERT INTO topics (topic) VALUES ('dev/old/t')")
        connection.execute(
            "INSERT INTO alarm_events (time, topic, device, tag, name, occurrence, state, since, event, active,"
            " acknowledged, priority, text, response, reason)"
            " SELECT at, 'alarm/x/t/high', 'x', 't', 'high', at, 'unacknowledged', at, 'raised', true, false, 'high', '',"
            " '', '' FROM generate_series(now() - interval '50 s', now(), '20 s') AS at"
        )
    with Prometheus(tmp_path, site.jobs, RULES).running() as prometheus:
        until(lambda: prometheus.ask("rate(nexus_ingestion_write_seconds_count[1m]) > 0"), "rates are known")
        until(lambda: prometheus.ask("sum(increase(nexus_gateway_readings_total[1m])) > 0"), "readings are known")
        for file in DASHBOARDS:
            for title, target in targets(file):
                if "rawSql" in target:
                    with psycopg.connect(database) as connection:
                        rows = connection.execute(sql(target, database)).fetchall()
                    assert rows, f"{file.name}, {title}: the database has nothing to show"
                elif prometheus.ask(asked(target)) == []:
                    assert any(name in target["expr"] for name in ELSEWHERE), f"{file.name}, {title}: {target['expr']}"
        names = prometheus.get("/api/v1/label/__name__/values")["data"]
    used = {
        name
        for text in [
            *(asked(target) for file in DASHBOARDS for _, target in targets(file) if "expr" in target),
            RULES.read_text(),
        ]
        for name in re.findall(r"nexus_[a-z_]+_[a-z]+\b", text)
    }
    known = set(names) | {"nexus_database_job_failed", "nexus_database_job_success_timestamp_seconds"}
    known |= {
        f"nexus_gateway_{name}" for name in ("certificate_days", "readings_dropped_total", "messages_refused_total")
    }  # once there is one
    assert used - known == set(), "metrics that nobody serves"


def test_the_variables_of_the_dashboards_find_something(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("INSERT INTO topics (topic) VALUES ('dev/line1/mixer/speed')")
        for file in DASHBOARDS:
            for variable in json.loads(file.read_text()).get("templating", {}).get("list", []):
                if variable["datasource"]["type"] == "grafana-postgresql-datasource":
                    text = variable["query"].replace("${path}", "dev/line1/mixer")
                    assert connection.execute(text).fetchall(), text


@pytest.fixture
def own_postgres(postgres: Postgres) -> Postgres:
    with connect(postgres.url) as connection:
        migrate(connection, DatabaseSettings())
    return postgres


def quick(rules_text: str) -> str:
    """The rules with seconds for minutes, and windows of a few scrapes."""
    text = re.sub(r"for: \d+m", "for: 2s", rules_text).replace("[10m:30s]", "[4s:1s]")
    return re.sub(r"\[(5|10|15)m\]", "[8s]", text).replace("offset 10m", "offset 8s")


class Watched:
    """A site whose devices, broker and database can go, and what Prometheus says of it."""

    def __init__(self, site: Site, broker: Mosquitto, server: Postgres, prometheus: Prometheus, devices: Path) -> None:
        self._site, self._broker, self._server, self._prometheus = site, broker, server, prometheus
        self._devices, self._right = devices, devices.read_text()
        self._gone: list[Nexus] = []

    def silent(self, what: str) -> None:
        until(lambda: self._prometheus.firing() == set(), what, 60)

    def fire(self, *alerts: str) -> None:
        """Waits until each has fired; not all need do so in the same moment."""
        lacking = set(alerts)

        def look() -> bool:
            lacking.difference_update(self._prometheus.firing())
            return not lacking

        try:
            until(look, "all alerts fire", 60)
        except AssertionError:
            raise AssertionError(f"silent: {sorted(lacking)}") from None

    def kill(self, *processes: Nexus) -> None:
        for one in processes:
            one.process.kill()
            one.process.wait()
        self._gone += processes

    def come_back(self) -> None:
        for one in self._gone:
            one.restart()
        self._gone.clear()

    def spoil(self) -> None:
        """Devices that are off, a wrong file, a message that cannot be stored, a forged receipt, and no backup for days."""
        with Asker(self._broker.mqtt("viewer"), "dev/#") as asker:
            name = until(lambda: [one.content["p"] for one in asker.heard if "p" in one.content], "numbers")[0]
        self.kill(self._site.simulator)
        self._devices.write_text("devices: [{name: x, protocol: modbuss}]")
        publish(self._broker.port, "dev/stranger", b"no reading")
        publish(self._broker.port, f"receipt/{name}", b"[[1,9007199254740991]]", user="ingestion")
        with connect(self._server.url) as connection:
            connection.execute("UPDATE backups SET finished = finished - interval '2 days'")

    def mend(self) -> None:
        self.come_back()
        self._devices.write_text(self._right)
        with connect(self._server.url) as connection:
            connection.execute("UPDATE backups SET finished = now()")


@pytest.mark.timeout(300)
def test_the_alerts_that_matter_most_fire_and_resolve(
    nexus: Start, mosquitto: Callable[..., Mosquitto], own_postgres: Postgres, tmp_path: Path
) -> None:
    """Everything goes wrong for real, as much at a time as goes together; waits are of seconds, not of minutes."""
    program("prometheus")
    broker = mosquitto()
    with connect(own_postgres.url) as connection:
        connection.execute("INSERT INTO backups (seconds, bytes, file) VALUES (1, 1, 'x')")
    # A spool that holds little, and nothing for long: what a long outage does is seen after seconds.
    site = Site(nexus, broker, own_postgres.url, tmp_path, spool_bytes="4000000", spool_age="10s")
    (tmp_path / "rules.yml").write_text(quick(RULES.read_text()))
    with Prometheus(tmp_path, site.jobs, tmp_path / "rules.yml").running() as prometheus:
        watched = Watched(site, broker, own_postgres, prometheus, tmp_path / "devices.yaml")
        until(lambda: prometheus.ask("nexus_database_backup_timestamp_seconds > 0"), "the backup is known", 40)
        watched.silent("all is well")

        watched.spoil()
        watched.fire(
            *(f"NexusBreakerOpen {name}" for name in ("mixer", "oven", "press", "filler")),
            "NexusDeviceOffline mixer",
            "NexusDeviceFileRefused",
            "NexusRejects",
            "NexusReceiptsRefused",
            "NexusBackupTooOld",
        )
        watched.mend()
        watched.silent("what was wrong is mended")

        broker.stop()
        own_postgres.stop("fast")
        watched.fire("NexusBrokerAway", "NexusDatabaseAway", "NexusNoRows", "NexusSpoolFills", "NexusReadingsLost")
        broker.start()
        own_postgres.start()
        watched.silent("broker and database are back")

        watched.kill(site.gateway, site.ingester, site.monitor, site.console)
        watched.fire("NexusGatewayDown", "NexusIngestionDown", "NexusMonitorDown", "NexusConsoleDown")
        watched.come_back()
        watched.silent("the services are back")
