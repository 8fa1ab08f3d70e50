"""The Kubernetes manifests as they are rendered: valid, hardened, consistent; and what checks them finds what is broken."""

import copy
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from gateway import config
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
    "external-secrets": ["external-secrets"],
    "monitoring": ["monitoring"],
    "cloudnativepg": ["database-cloudnativepg"],
    "all": ["tls", "broker-loadbalancer", "external-secrets", "monitoring"],
}
VERSIONS = ["1.30", None]  # None: the newest
# What the design allows, and nothing else. Name resolution comes on top of it, and the devices' networks.
FLOWS: set[Flow] = {
    ("gateway", "emqx", 1883),
    ("ingestion", "emqx", 1883),
    ("ingestion", "timescaledb", 5432),
    ("migrate", "timescaledb", 5432),
    ("backup", "timescaledb", 5432),
    ("database-monitor", "timescaledb", 5432),
}
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
    folder = FOLDER / "overlays" / f"test-{'-'.join(components)}"
    try:
        shutil.copytree(FOLDER / "overlays/prod", folder)
        file = folder / "kustomization.yaml"
        lines = yaml.safe_load(file.read_text())
        lines["components"] += [f"../../components/{name}" for name in components]
        file.write_text(yaml.safe_dump(lines))
        return rendered(str(folder))
    finally:
        shutil.rmtree(folder)


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


def test_with_tls_nothing_is_left_that_talks_without() -> None:
    resources = of_prod_with("tls")
    secured = {(source, target, 8883 if port == 1883 else port) for source, target, port in FLOWS | CLUSTER}
    assert flows(resources) == secured | {("reload-certificates", "timescaledb", 5432)}
    assert not {port for *_, port in outside(resources)} & {1883, 8083}
    for pod in pods(resources):
        for container in pod.spec["containers"]:
            env = {one["name"]: one.get("value") for one in container.get("env", [])}
            assert str(env.get("NEXUS_MQTT_URL", "mqtts://")).startswith("mqtts://"), pod.at
            if "NEXUS_DATABASE_URL" in env or "PGPASSWORD" in env:
                assert env.get("PGSSLMODE") == "verify-full", pod.at


def test_components_open_what_they_say_and_no_more() -> None:
    plain = outside(of_prod_with("tls"))
    assert outside(of_prod_with("tls", "broker-loadbalancer")) - plain == {("emqx", "ingress anywhere", 8883)}
    assert outside(of_prod_with("tls", "traefik")) - plain == {
        ("emqx", "ingress kube-system", 8883),
        ("emqx", "ingress kube-system", 18083),
    }
    assert outside(of_prod_with("monitoring")) - outside(rendered(str(FOLDER / "overlays/prod"))) == {
        ("gateway", "ingress monitoring", 8081),
        ("ingestion", "ingress monitoring", 8081),
        ("database-clients", "ingress monitoring", 8081),
        ("emqx", "ingress monitoring", 18083),
    }


def test_samples_are_for_development_only() -> None:
    assert {at(one) for one in of_kind(rendered(str(FOLDER / "overlays/dev")), "Secret")} == {
        "Secret/mqtt-users",
        "Secret/emqx",
        "Secret/database",
    }
    samples = of_kind(rendered(str(FOLDER / "overlays/dev")), "Secret")
    for sample in samples:
        assert set(sample["stringData"]) == given()[sample["metadata"]["name"]]
        assert set(sample["stringData"].values()) == {"change-me"}
    for name in ("single", "prod"):
        resources = rendered(str(FOLDER / "overlays" / name))
        assert "change-me" not in yaml.safe_dump_all([one for one in resources if one["kind"] != "StatefulSet"])
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
    done = subprocess.run(["bash", "-n", str(ROOT / "scripts/k3s-test")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
