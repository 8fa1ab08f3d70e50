"""The Kubernetes manifests as they are rendered: valid, hardened, consistent; and what checks them finds what is broken."""

import copy
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from gateway.config import devices as config
from ingestion.rules import files as rules
from nexus.cli import credentials
from tests.deploy.flows import Flow, flows, outside
from tests.deploy.policy import MOVING_TAGS, Resource, at, faults, of_kind, pods

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infrastructure/k8s"
OVERLAYS = ["dev", "single", "prod"]
COMPONENTS = {
    "tls": ["tls"],
    "tls-loadbalancer": ["tls", "broker-loadbalancer"],
    "tls-nodeport": ["tls", "broker-nodeport"],
    "tls-traefik": ["tls", "traefik"],
    "tls-console-traefik": ["tls", "console-traefik"],
    "external-secrets": ["external-secrets"],
    "monitoring": ["monitoring"],
    "notifications": ["notifications"],
    "rules": ["rules"],
    "rules-tls": ["rules", "tls", "monitoring"],
    "rules-cloudnativepg": ["rules", "database-cloudnativepg", "tls"],
    "cloudnativepg": ["database-cloudnativepg"],
    "cloudnativepg-tls": ["database-cloudnativepg", "tls"],
    "all": ["tls", "broker-loadbalancer", "external-secrets", "monitoring"],
}
VERSIONS = ["1.30", None]  # None: the newest
# What the design allows, and nothing else. Name resolution comes on top of it, and the devices' networks.
FLOWS: set[Flow] = {
    ("gateway", "emqx", 1883),
    ("ingestion", "emqx", 1884),
    ("ingestion", "timescaledb", 5432),
    ("console", "emqx", 1883),
    ("console", "timescaledb", 5432),
    ("migrate", "timescaledb", 5432),
    ("backup", "timescaledb", 5432),
    ("database-monitor", "timescaledb", 5432),
    ("owner", "timescaledb", 5432),
}
RULES: set[Flow] = {("rules", "emqx", 1883), ("rules", "timescaledb", 5432)}
CLUSTER: set[Flow] = {("emqx", "emqx", 4370), ("emqx", "emqx", 5369)}
SIMULATOR: set[Flow] = {("gateway", "simulator", port) for port in (5020, 4840, 10102)}
OUTSIDE = {("allow-dns", "egress kube-system", 53), ("gateway", "egress anywhere", 6443)}
DEVICES = {("gateway", "egress 192.168.1.0/24", port) for port in (502, 4840, 102)}


@cache
def rendered(overlay: str) -> list[Resource]:
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl here, which renders the overlays: install it and run `make k8s-check`")
    done = subprocess.run(["kubectl", "kustomize", overlay], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture
def overlay(request: pytest.FixtureRequest) -> list[Resource]:
    return copy.deepcopy(rendered(str(FOLDER / "overlays" / request.param)))


def of_prod_with(*components: str) -> list[Resource]:
    """The production overlay with more of its components."""
    with TemporaryDirectory(prefix="test-", dir=FOLDER / "overlays") as folder:
        shutil.copytree(FOLDER / "overlays/prod", folder, dirs_exist_ok=True)
        file = Path(folder, "kustomization.yaml")
        lines = yaml.safe_load(file.read_text())
        lines["components"] += [f"../../components/{name}" for name in components]
        file.write_text(yaml.safe_dump(lines))
        return rendered(folder)


@cache
def given() -> dict[str, set[str]]:
    """The Secrets that production gets from outside."""
    made = subprocess.run([str(ROOT / "scripts/k8s-secrets")], capture_output=True, text=True, check=True).stdout
    return {one["metadata"]["name"]: set(one["stringData"]) for one in yaml.safe_load_all(made)}


def validated(resources: list[Resource], version: str | None) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("kubernetes-validate")
    arguments = ["--strict", *(["-k", version] if version else []), "-"]
    text = yaml.safe_dump_all(resources)
    return subprocess.run([str(program), *arguments], input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS, indirect=True)
def test_every_resource_is_valid(overlay: list[Resource], version: str | None) -> None:
    done = validated(overlay, version)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("overlay", OVERLAYS, indirect=True)
def test_the_overlays_are_sound(overlay: list[Resource], request: pytest.FixtureRequest) -> None:
    is_dev = request.node.callspec.params["overlay"] == "dev"
    assert faults(overlay, {} if is_dev else given()) == []


def test_who_may_talk_to_whom() -> None:
    networks = {("gateway", "egress 192.168.0.0/16", port) for port in (502, 4840, 102)}
    assert flows(rendered(str(FOLDER / "overlays/dev"))) == FLOWS | SIMULATOR
    assert outside(rendered(str(FOLDER / "overlays/dev"))) == OUTSIDE | networks
    assert flows(rendered(str(FOLDER / "overlays/single"))) == FLOWS
    assert flows(rendered(str(FOLDER / "overlays/prod"))) == FLOWS | CLUSTER
    assert outside(rendered(str(FOLDER / "overlays/prod"))) == OUTSIDE | DEVICES


@pytest.mark.parametrize("names", COMPONENTS.values(), ids=COMPONENTS)
def test_the_components_are_sound(names: list[str]) -> None:
    resources = of_prod_with(*names)
    done = validated(resources, None)
    assert done.returncode == 0, done.stdout + done.stderr
    allowed = ("there is no Service", "selects no pod") if "database-cloudnativepg" in names else ()
    assert [fault for fault in faults(resources, given()) if not any(text in fault for text in allowed)] == []


def test_rules_talk_to_broker_and_database_only() -> None:
    resources = of_prod_with("rules")
    assert flows(resources) == FLOWS | CLUSTER | RULES
    assert outside(resources) == OUTSIDE | DEVICES
    [shown] = [one for one in of_kind(resources, "ConfigMap") if one["metadata"]["name"].startswith("rules-")]
    [pod] = [pod for pod in pods(resources) if pod.name == "rules"]
    assert {"name": "rules", "configMap": {"name": shown["metadata"]["name"]}} in pod.spec["volumes"]
    assert rules.load(FOLDER / "components/rules/example.yaml")


@pytest.mark.parametrize("names", [["tls"], ["rules", "tls"]], ids=["tls", "rules-tls"])
def test_with_tls_nothing_is_left_that_talks_without(names: list[str]) -> None:
    resources = of_prod_with(*names)
    all_flows = FLOWS | CLUSTER | (RULES if "rules" in names else set())
    secured = {(source, target, {1883: 8883, 1884: 8884}.get(port, port)) for source, target, port in all_flows}
    assert flows(resources) == secured | {("reload-certificates", "timescaledb", 5432)}
    assert not {port for *_, port in outside(resources)} & {1883, 1884, 8083}
    for pod in pods(resources):
        for container in pod.spec["containers"]:
            env = {one["name"]: one.get("value") for one in container.get("env", [])}
            assert str(env.get("NEXUS_MQTT_URL", "mqtts://")).startswith("mqtts://"), pod.at
            if "NEXUS_DATABASE_URL" in env or "PGPASSWORD" in env:
                assert env.get("PGSSLMODE") == "verify-full", pod.at


def test_with_tls_the_database_takes_no_connection_without() -> None:
    resources = of_prod_with("tls")
    [database] = [pod for pod in pods(resources) if pod.name == "timescaledb"]
    assert "-chba_file=/etc/nexus/hba/pg_hba.conf" in database.spec["containers"][0]["args"]
    [rules] = [one["data"]["pg_hba.conf"] for one in of_kind(resources, "ConfigMap") if "pg_hba.conf" in one["data"]]
    lines = [tuple(line.split()) for line in rules.splitlines()]
    assert [kind for kind, *_, method in lines if method == "trust"] == ["local"]
    assert [line for line in lines if line[0] == "host" and line[3] != "127.0.0.1/32"] == []
    [cluster] = of_kind(of_prod_with("database-cloudnativepg", "tls"), "Cluster")
    assert cluster["spec"]["postgresql"]["pg_hba"] == ["hostnossl all all all reject"]
    assert cluster["spec"]["certificates"] == dict.fromkeys(("serverTLSSecret", "serverCASecret"), "timescaledb-tls")


def test_the_secrets_that_we_make_pass_our_own_check() -> None:
    made = subprocess.run([str(ROOT / "scripts/k8s-secrets")], capture_output=True, text=True, check=True).stdout
    found = {
        f"{'MQTT_USER_' if secret['metadata']['name'].startswith('mqtt-') else 'SECRET_'}{key}": value
        for secret in yaml.safe_load_all(made)
        for key, value in secret["stringData"].items()
        if key != "username"
    }
    assert credentials.faults(found, development=False) == []
    assert len(set(found.values()) - {found["SECRET_password"]}) == len(found) - 2, "the superuser's is there twice"


def checked_secrets(resources: list[Resource]) -> set[tuple[str, str]]:
    """Whose init container checks which Secret."""
    return {
        (pod.name, source["secretRef"]["name"])
        for pod in pods(resources)
        for container in pod.spec.get("initContainers", [])
        if container["args"][0] == "secrets" and container["image"].startswith("nexus-edge:")
        for source in container["envFrom"]
        if "secretRef" in source and source["prefix"].startswith(("MQTT_USER_", "SECRET_"))
    }


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_secret_is_checked_before_anything_starts_with_it(name: str) -> None:
    broker = {("emqx", "mqtt-users"), ("emqx", "mqtt-gateways"), ("emqx", "emqx")}
    overlay = rendered(str(FOLDER / "overlays" / name))
    console = {("console", "console")}
    assert checked_secrets(overlay) == broker | console | {("timescaledb", "database")}
    assert checked_secrets(of_prod_with("database-cloudnativepg")) == broker | console | {("migrate", "database")}


def test_each_gateway_is_a_user_of_its_own_and_sees_no_other_password() -> None:
    for name in OVERLAYS:
        [gateway] = [pod for pod in pods(rendered(str(FOLDER / "overlays" / name))) if pod.name == "gateway"]
        [container] = gateway.spec["containers"]
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert (gateway.kind, env["NEXUS_MQTT_USER"]) == ("StatefulSet", "$(POD_NAME)")
        assert "@" not in env["NEXUS_MQTT_URL"]
        [mount] = [one for one in container["volumeMounts"] if one["name"] == "mqtt"]
        assert (mount["mountPath"], mount["subPathExpr"]) == (env["NEXUS_MQTT_PASSWORD_FILE"], "$(POD_NAME)")


def _cores(amount: str) -> float:
    return float(amount.removesuffix("m")) / (1000 if amount.endswith("m") else 1)


def test_one_server_of_two_cores_is_enough_for_the_single_overlay_and_its_rollouts() -> None:
    resources = rendered(str(FOLDER / "overlays/single"))
    assert of_kind(resources, "HorizontalPodAutoscaler") == []
    cores = 0.0
    for pod in pods(resources):
        replicas = pod.owner.get("replicas", 1)
        own = sum(_cores(one["resources"]["requests"]["cpu"]) for one in pod.spec["containers"])
        if pod.kind == "Deployment" and "maxSurge" not in pod.owner.get("strategy", {}).get("rollingUpdate", {}):
            replicas += replicas > 0  # Kubernetes' own: 25 %, rounded up
        cores += replicas * own
    assert cores <= 1.5, "K3s' own pods, and the system, need the rest"


def test_what_argo_must_not_delete() -> None:
    for claim in of_kind(rendered(str(FOLDER / "overlays/prod")), "PersistentVolumeClaim"):
        assert claim["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"


def test_components_open_what_they_say_and_no_more() -> None:
    plain = outside(of_prod_with("tls"))
    assert outside(of_prod_with("tls", "broker-loadbalancer")) - plain == {("emqx", "ingress anywhere", 8883)}
    ways = {("console", "egress anywhere", port) for port in (25, 443, 465, 587, 9093)}
    assert outside(of_prod_with("tls", "notifications")) - plain == ways
    assert outside(of_prod_with("tls", "traefik")) - plain == {("emqx", "ingress kube-system", 8883)}
    assert outside(of_prod_with("tls", "console-traefik")) - plain == {("console", "ingress kube-system", 8090)}
    both = outside(of_prod_with("tls", "console-traefik", "monitoring"))
    assert {("console", "ingress kube-system", 8090), ("console", "ingress monitoring", 8081)} <= both
    assert outside(of_prod_with("monitoring")) - outside(rendered(str(FOLDER / "overlays/prod"))) == {
        ("gateway", "ingress monitoring", 8081),
        ("ingestion", "ingress monitoring", 8081),
        ("console", "ingress monitoring", 8081),
        ("database-clients", "ingress monitoring", 8081),
        ("emqx", "ingress monitoring", 18083),
    }


def test_samples_are_for_development_only() -> None:
    assert {at(one) for one in of_kind(rendered(str(FOLDER / "overlays/dev")), "Secret")} == {
        "Secret/mqtt-users",
        "Secret/mqtt-gateways",
        "Secret/emqx",
        "Secret/database",
        "Secret/console",
    }
    samples = of_kind(rendered(str(FOLDER / "overlays/dev")), "Secret")
    for sample in samples:
        assert set(sample["stringData"]) == given()[sample["metadata"]["name"]]
        assert set(sample["stringData"].values()) <= {"change-me", "change-me-change-me"}
    for name in ("single", "prod"):
        resources = rendered(str(FOLDER / "overlays" / name))
        assert "change-me" not in yaml.safe_dump_all(resources)
        [settings] = [one for one in of_kind(resources, "ConfigMap") if "NEXUS_ENVIRONMENT" in one["data"]]
        assert settings["data"]["NEXUS_ENVIRONMENT"] == "production"


def test_the_external_secrets_are_those_that_are_needed() -> None:
    made = of_kind(of_prod_with("external-secrets"), "ExternalSecret")
    keys = {one["spec"]["target"]["name"]: {entry["secretKey"] for entry in one["spec"]["data"]} for one in made}
    assert keys == {name: found for name, found in given().items() if name != "database-superuser"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_device_files_are_good(name: str, tmp_path: Path) -> None:
    [devices] = [
        one
        for one in of_kind(rendered(str(FOLDER / "overlays" / name)), "ConfigMap")
        if one["metadata"]["name"] == "devices"
    ]
    for file, text in devices["data"].items():
        (tmp_path / file).write_text(text)
    assert config.load(tmp_path)


@pytest.mark.parametrize("file", sorted((ROOT / "infrastructure/docker").glob("*.yml")), ids=lambda file: file.name)
def test_each_image_of_compose_is_a_variable_with_a_pinned_default(file: Path) -> None:
    for name, service in yaml.safe_load(file.read_text())["services"].items():
        if "extends" not in service:
            variable, image = re.fullmatch(r"\$\{([A-Z_]+_IMAGE):-(.+)\}", service["image"]).groups()  # type: ignore[union-attr]
            assert image.rpartition(":")[2] not in MOVING_TAGS, (name, variable)


COMPOSE = yaml.safe_load((ROOT / "infrastructure/docker/docker-compose.yml").read_text())["services"]


def test_every_service_of_compose_has_no_capability_and_gains_none() -> None:
    for name, service in COMPOSE.items():
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name


def test_compose_publishes_each_kind_of_port_by_a_variable_of_its_own_and_ingestions_not_at_all() -> None:
    kinds: dict[str, set[tuple[str, int]]] = {}
    for name, port in [(name, port) for name, service in COMPOSE.items() for port in service.get("ports", [])]:
        kind, inside = re.fullmatch(r"\$\{BIND_([A-Z]+):-127\.0\.0\.1\}:[\d-]+:(\d+)", port).groups()  # type: ignore[union-attr]
        kinds.setdefault(kind, set()).add((name, int(inside)))
    assert kinds["MQTT"] == {("emqx", 1883), ("emqx", 8083)}
    assert kinds["DATABASE"] == {("timescaledb", 5432)}
    assert kinds["ADMIN"] == {("emqx", 18083), ("prometheus", 9090), ("grafana", 3000), ("adminer", 8080)}
    assert kinds["CONSOLE"] == {("console", 8090)}
    assert kinds.keys() == {"MQTT", "DATABASE", "ADMIN", "API", "CONSOLE", "SIMULATOR"}
    assert COMPOSE["adminer"]["profiles"] == ["tools"]


def test_ingesters_of_compose_can_be_scaled_and_prometheus_finds_each() -> None:
    """`--scale ingestion=N`: a fixed name or port would stop all but the first."""
    ingestion = COMPOSE["ingestion"]
    assert "container_name" not in ingestion
    assert [re.fullmatch(r".+:8091-8099:8081", port) is not None for port in ingestion["ports"]] == [True]
    settings = yaml.safe_load((ROOT / "infrastructure/monitoring/prometheus.yml").read_text())
    [job] = [one for one in settings["scrape_configs"] if one["job_name"] == "ingestion"]
    assert job["dns_sd_configs"] == [{"names": ["ingestion"], "type": "A", "port": 8081}]


def test_the_example_names_every_variable_that_compose_wants() -> None:
    wanted = {
        name
        for file in (ROOT / "infrastructure/docker").glob("docker-compose*.yml")
        for name in re.findall(r"\$\{([A-Z_]+):\?", file.read_text())
    }
    example = (ROOT / "infrastructure/docker/.env.example").read_text()
    assert wanted - set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == set()


def test_compose_checks_each_secret_before_anything_starts_with_it() -> None:
    text = (ROOT / "infrastructure/docker/docker-compose.yml").read_text()
    used = set(re.findall(r"\$\{([A-Z_]*(?:PASSWORD|COOKIE))\b", text))
    environment = COMPOSE["secrets"]["environment"].items()
    checked = {value[2:].partition(":")[0] for name, value in environment if name.startswith(("MQTT_USER_", "SECRET_"))}
    assert used <= checked
    for name in ("emqx", "timescaledb", "grafana"):
        assert COMPOSE[name]["depends_on"]["secrets"] == {"condition": "service_completed_successfully"}


def test_compose_and_kubernetes_run_the_same_versions() -> None:
    text = (ROOT / "infrastructure/docker/docker-compose.yml").read_text()
    for overlay in OVERLAYS:
        lines = yaml.safe_load((FOLDER / "overlays" / overlay / "kustomization.yaml").read_text())["images"]
        for one in lines:
            if "newName" in one:
                assert f"{one['newName']}:{one['newTag']}" in text


def test_the_k3s_test_names_what_there_is() -> None:
    script = (ROOT / "scripts/k3s-test").read_text()
    there = {at(one).lower() for one in rendered(str(FOLDER / "overlays/dev"))}
    named = set(re.findall(r"\b((?:deployment|statefulset|job)/[a-z-]+)", script))
    assert len(named) >= 6
    assert named - there == set()
    assert "| grep -q" not in script, "with pipefail that fails whenever grep is done first"
    done = subprocess.run(["bash", "-n", str(ROOT / "scripts/k3s-test")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
