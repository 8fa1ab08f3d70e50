"""The image in containers, as the manifests and the compose files say, beside stand-ins for EMQX and TimescaleDB."""

import json
import os
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.policy import Resource, at
from tests.deploy.test_image import FOLDER, docker, image
from tests.deploy.test_manifests import FOLDER as K8S
from tests.deploy.test_manifests import rendered
from tests.parts import until

__all__ = ["image"]
pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]
STAND_INS = Path(__file__).parent / "stand_ins"
ROWS = (
    "SELECT count(*) FROM (SELECT DISTINCT split_part(topic, '/', 4) FROM metrics WHERE topic LIKE 'dev/plant/%') AS x"
)
DEVICES = 7
USERS = ("gateway-0", "ingestion", "console")  # of the broker
# Looks whether there are pages, logs in as the first user, and prints how many devices the console knows.
ASKING = """
import json, urllib.request as u
told = {"Content-Type": "application/json"}
body = json.dumps({"name": "admin", "password": "change-me-change-me"}).encode()
assert b"<script" in u.urlopen("http://127.0.0.1:8090/").read()
page = "http://127.0.0.1:8090/api/v1/"
with u.urlopen(u.Request(page + "session", body, told)) as answer:
    told["Cookie"] = answer.headers["Set-Cookie"].partition(";")[0]
with u.urlopen(u.Request(page + "devices", headers=told)) as answer:
    print(len(json.load(answer)["items"]))
"""


@pytest.fixture(scope="module")
def stand_ins(image: str) -> dict[str, str]:
    """Images for the names that compose and manifests use; `image` has looked for Docker."""
    made = {}
    for name in ("broker", "database"):
        made[name] = f"nexus-stand-in-{name}:test"
        base = f"BASE_IMAGE={os.environ['NEXUS_TEST_BASE_IMAGE']}"
        arguments = ["--network", "host", "--build-arg", base, "-t", made[name]]
        done = docker("build", *arguments, "-f", str(STAND_INS / f"{name}.Dockerfile"), str(STAND_INS))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return made


class Cluster:
    """Pods of the development overlay as containers on a private network, under the names of their Services."""

    def __init__(self, folder: Path, resources: list[Resource]) -> None:
        self._folder = folder
        self._resources = {at(one): one for one in resources}
        self.network = f"nexus-{uuid.uuid4().hex[:8]}"
        self._started: list[str] = []
        assert docker("network", "create", "--internal", self.network).returncode == 0

    def close(self) -> None:
        for name in self._started:
            docker("rm", "--force", "--volumes", name)
        docker("network", "rm", self.network)

    def run(self, name: str, image: str, *options: str, arguments: tuple[str, ...] = ()) -> str:
        """Starts a container; gives its name."""
        made = f"{self.network}-{name}"
        done = docker(
            "run",
            "--detach",
            "--name",
            made,
            "--network",
            self.network,
            "--network-alias",
            name,
            *options,
            image,
            *arguments,
        )
        self._started.append(made)
        assert done.returncode == 0, done.stderr
        return made

    def pod(self, workload: str, image: str, init: str | None = None) -> str:
        """Runs a workload's pod, or an init container of it, as it is: user, file system, capabilities, variables, files."""
        spec = self._resources[workload]["spec"]["template"]["spec"]
        named = workload.partition("/")[2] + (f"-{init}" if init else "")
        [container] = [one for one in spec.get("initContainers", []) if one["name"] == init] or spec["containers"]
        own, context = spec["securityContext"], container["securityContext"]
        options = ["--user", f"{own['runAsUser']}:{own['runAsGroup']}", "--security-opt", "no-new-privileges"]
        options += ["--read-only"] if context["readOnlyRootFilesystem"] else []
        options += ["--cap-drop", *context["capabilities"]["drop"]]
        options += ["--memory", container["resources"]["limits"]["memory"].lower().removesuffix("i")]
        environment = self._environment(container, f"{workload.partition('/')[2]}-0")
        for variable, value in environment.items():
            options += ["--env", f"{variable}={value}"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            options += self._mount(mount, volumes[mount["name"]], own, environment)
        return self.run(named, image, *options, arguments=tuple(container["args"]))

    def _environment(self, container: dict[str, Any], pod: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container.get("envFrom", []):
            found |= self._resources[f"ConfigMap/{source['configMapRef']['name']}"]["data"]
        for variable in container.get("env", []):
            value = variable.get("value", pod)  # else it is from the pod's name, or a Secret
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                value = self._resources[f"Secret/{reference['name']}"]["stringData"][reference["key"]]
            for name, known in found.items():
                value = value.replace(f"$({name})", known)
            found[variable["name"]] = value
        return found | ({"NEXUS_LEASES": "none"} if "NEXUS_LEASES" in found else {})

    def _mount(
        self, mount: dict[str, Any], volume: dict[str, Any], own: dict[str, Any], environment: dict[str, str]
    ) -> list[str]:
        where = mount["mountPath"]
        if "emptyDir" in volume:
            return ["--tmpfs", f"{where}:uid={own['runAsUser']},gid={own['runAsGroup']},mode=0770"]
        if "configMap" in volume:
            folder = self._folder / volume["name"]
            folder.mkdir(exist_ok=True)
            for file, text in self._resources[f"ConfigMap/{volume['configMap']['name']}"]["data"].items():
                (folder / file).write_text(text)
            return ["--volume", f"{folder}:{where}:ro"]
        if "projected" in volume or volume["secret"].get("optional"):
            return []  # no API server here; see NEXUS_LEASES
        secret = self._resources[f"Secret/{volume['secret']['secretName']}"]["stringData"]
        [(key, name)] = [(one["key"], one["path"]) for one in volume["secret"].get("items", [])] or [(None, None)]
        if key is None:
            key = mount["subPathExpr"].replace("$(POD_NAME)", environment["POD_NAME"])
        else:
            where = f"{where}/{name}"
        file = self._folder / f"{volume['secret']['secretName']}-{key}"
        file.write_text(secret[key])
        return ["--volume", f"{file}:{where}:ro"]


def psql(container: str, query: str) -> str:
    arguments = ["psql", "--host", "/tmp", "--username", "postgres", "--tuples-only", "--no-align", "nexus"]
    return docker("exec", container, *arguments, "--command", query).stdout.strip()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    tmp_path.chmod(0o755)
    cluster = Cluster(tmp_path, rendered(str(K8S / "overlays/dev")))
    yield cluster
    cluster.close()


def test_it_works_with_the_manifests_security_context(
    image: str, stand_ins: dict[str, str], cluster: Cluster, tmp_path: Path
) -> None:
    users = [{"user_id": user, "password": "change-me", "is_superuser": False} for user in USERS]
    (tmp_path / "users.json").write_text(json.dumps(users))
    files = ["-v", f"{tmp_path}/users.json:/run/nexus/users.json:ro"]
    files += ["-v", f"{FOLDER}/emqx/acl.conf:/opt/emqx/etc/nexus-acl.conf:ro"]
    cluster.run("emqx", stand_ins["broker"], *files)
    database = cluster.run(
        "timescaledb", stand_ins["database"], "-e", "POSTGRES_PASSWORD=change-me", "-e", "POSTGRES_DB=nexus"
    )
    until(lambda: psql(database, "SELECT 1") == "1", "the database answers", 60)
    simulator = cluster.pod("Deployment/simulator", image)
    migrate = cluster.pod("Job/migrate", image)
    assert docker("wait", migrate).stdout.strip() == "0", docker("logs", migrate).stderr
    monitor = cluster.pod("Deployment/database-monitor", image)
    ingestion = cluster.pod("Deployment/ingestion", image)
    gateway = cluster.pod("StatefulSet/gateway", image)
    first = cluster.pod("Deployment/console", image, init="first-user")
    assert docker("wait", first).stdout.strip() == "0", docker("logs", first).stderr
    console = cluster.pod("Deployment/console", image)
    try:
        until(lambda: psql(database, ROWS) == str(DEVICES), "rows of every device", 60)
    except AssertionError:
        print(*(docker("logs", name).stderr[-1500:] for name in (gateway, ingestion, simulator)), sep="\n\n")  # noqa: T201
        raise
    backup = docker(
        "run", "--rm", "--network", cluster.network, "--read-only", "--cap-drop", "ALL", "--tmpfs", "/backups:uid=10001",
        "--env", "NEXUS_ENVIRONMENT=development",
        "--env", "NEXUS_DATABASE_URL=postgresql://postgres:change-me@timescaledb:5432/nexus",
        image, "db", "backup", "/backups", "--keep", "7",
    )  # fmt: skip
    assert backup.returncode == 0, backup.stderr
    ask = ("exec", console, "python", "-c", ASKING)
    until(lambda: docker(*ask).stdout == f"{DEVICES}\n", "the console shows every device", 30)
    for name in (gateway, ingestion, monitor, console):
        healthy = docker("exec", name, "nexus", "health")
        assert healthy.returncode == 0, healthy.stderr
    for name in (gateway, ingestion, monitor, console, simulator):
        assert docker("stop", "--time", "20", name).returncode == 0
        state = json.loads(docker("inspect", name).stdout)[0]["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False), docker("logs", name).stderr[-1500:]
    assert psql(database, "SELECT count(*) FROM rejects") == "0"


@pytest.fixture
def compose(image: str, stand_ins: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Runs Compose with the stand-ins; what was started goes with its volumes."""
    if docker("compose", "version").returncode != 0:
        pytest.skip("no Docker Compose here")
    images = {
        "NEXUS_IMAGE": image,
        "EMQX_IMAGE": stand_ins["broker"],
        "TIMESCALEDB_IMAGE": stand_ins["database"],
    }
    started: list[Path] = []

    def run(file: Path, *arguments: str, fails: bool = False, **environment: str) -> str:
        started.append(file)
        command = ["docker", "compose", "--env-file", ".env.example", "--file", file.name, *arguments]
        done = subprocess.run(
            command,
            cwd=FOLDER,
            env={**os.environ, **images, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    yield run
    for file in set(started):
        run(file, "down", "--volumes", "--timeout", "5")


def metric(port: int, name: str) -> float:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name)


@pytest.mark.parametrize("file", sorted(FOLDER.glob("docker-compose*.yml")), ids=lambda file: file.name)
def test_the_compose_files_come_up_and_rows_arrive(file: Path, compose: Callable[..., str]) -> None:
    services = compose(file, "config", "--services").split()
    assert "adminer" not in services
    compose(file, "up", "--detach", "--no-build")
    if "timescaledb" in services:
        database = compose(file, "ps", "--quiet", "timescaledb").strip()
        try:
            until(lambda: psql(database, ROWS) == str(DEVICES), "rows of every device", 90)
        except AssertionError:
            print(compose(file, "logs", "--tail", "20"))  # noqa: T201
            raise
        assert psql(database, "SELECT count(*) FROM rejects") == "0"
        if "console" in services:
            asked = [sys.executable, "-c", ASKING]
            until(
                lambda: subprocess.run(asked, capture_output=True, text=True, check=False).stdout == f"{DEVICES}\n",
                "the console shows every device",
                30,
            )
    else:
        until(lambda: metric(8081, "nexus_gateway_readings_total") > 50, "devices are read", 60)
        assert metric(8081, "nexus_gateway_broker_connected") == 1


def test_compose_starts_nothing_with_a_samples_secrets(compose: Callable[..., str]) -> None:
    file = FOLDER / "docker-compose.yml"
    compose(file, "up", "--detach", "--no-build", fails=True, NEXUS_ENVIRONMENT="production")
    faults = compose(file, "logs", "--no-log-prefix", "secrets").splitlines()
    assert {fault.partition(":")[2] for fault in faults} == {
        " this is a sample; generate a real one with scripts/k8s-secrets or `openssl rand -hex 24`"
    }
    samples = [line for line in (FOLDER / ".env.example").read_text().splitlines() if "=change-me" in line]
    assert len(faults) == len(samples), "all of them"
    assert compose(file, "ps", "--status", "running", "--services").split() in ([], ["simulator"])
